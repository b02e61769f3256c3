//! Instants on the wire and in the program.

use jiff::Timestamp;

/// An instant as protobuf writes it.
pub fn to_proto(at: Timestamp) -> prost_types::Timestamp {
    // jiff counts an instant before 1970 with both parts negative; protobuf wants the nanoseconds positive.
    let (mut seconds, mut nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

/// An instant as protobuf wrote it; `None` when it lies outside of what a calendar holds (years -9999 to 9999).
pub fn from_proto(at: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(at.seconds, at.nanos).ok()
}

/// Serialises an optional protobuf instant as RFC 3339 text, as protobuf's own JSON form does.
pub(crate) mod json {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(at: &Option<prost_types::Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.as_ref().and_then(super::from_proto).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<prost_types::Timestamp>, D::Error> {
        Ok(Option::<Timestamp>::deserialize(deserializer)?.map(super::to_proto))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn instants_survive_the_wire() {
        for text in ["2026-11-22T10:00:00.123456789Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z"] {
            let at: Timestamp = text.parse().unwrap();
            let proto = to_proto(at);
            assert!((0..1_000_000_000).contains(&proto.nanos), "{text}");
            assert_eq!(from_proto(&proto), Some(at), "{text}");
        }
    }
}
