//! Deadlines of gRPC calls. Callers of the platform API must set one (architecture §6), so that no forgotten call
//! holds a connection for ever.

use std::time::Duration;

use proto_api::status::ApiError;
use tonic::metadata::MetadataMap;

const HEADER: &str = "grpc-timeout";

/// Most digits that gRPC allows in a timeout.
const MAX_DIGITS: usize = 8;

/// The time that the caller is willing to wait.
///
/// # Errors
/// `InvalidArgument` when the call sets none, or one that is not written as gRPC asks.
pub fn required(metadata: &MetadataMap) -> Result<Duration, ApiError> {
    let value = metadata.get(HEADER).ok_or_else(|| {
        ApiError::invalid_argument("the call sets no deadline").with_remedy("set one on the client, for example 30 s")
    })?;
    value.to_str().ok().and_then(parse).ok_or_else(|| {
        ApiError::invalid_argument("the call's grpc-timeout is malformed")
            .with_remedy("write up to eight digits and one of H, M, S, m, u, n")
    })
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.len() > MAX_DIGITS || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("30S", Duration::from_secs(30)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "123456789S", "é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_call_without_deadline_is_refused() {
        let mut metadata = MetadataMap::new();
        assert!(required(&metadata).is_err());
        metadata.insert(HEADER, "30S".parse().unwrap());
        assert_eq!(required(&metadata).unwrap(), Duration::from_secs(30));
    }
}
