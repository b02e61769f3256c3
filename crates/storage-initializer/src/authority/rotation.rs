//! When an authority is renewed, and which authorities are trusted meanwhile. Pure but for the making of keys.
//!
//! ```text
//!  day 0        640 (90 left)          685 (45 left)            730
//!  ├── signs ───┼── signs, the next ───┼── trusted only ────────┤  old
//!               │   one is trusted too │
//!               ├── trusted only ──────┼── signs ──────────────────…  next
//! ```
//!
//! A Job carries the bundle that was current when it was made and cannot be given another. So the next authority is
//! trusted for [`OVERLAP`] before it signs anything: longer than any session may run.

use jiff::{SignedDuration, Timestamp};

use super::certificates::{self, CertificateError, Issued};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Life of an authority, in days.
const AUTHORITY_DAYS: i64 = 730;

/// Life left when the next authority is made.
const RENEW_AUTHORITY: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Time for which the next authority is only trusted.
const OVERLAP: SignedDuration = SignedDuration::from_hours(45 * 24);

/// Life of a server certificate, in days.
const SERVER_DAYS: i64 = 90;

/// Life left when a server certificate is renewed. Services reload it within a minute, so this only has to be longer
/// than any outage of the storage-initializer.
const RENEW_SERVER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The authority that will sign next.
#[derive(Clone)]
pub(super) struct Successor {
    pub(super) issued: Issued,
    pub(super) trusted_since: Timestamp,
}

/// A certificate that is still trusted and signs no more.
#[derive(Clone)]
pub(super) struct Predecessor {
    pub(super) certificate: String,
    pub(super) not_after: Timestamp,
}

/// Everything in the Secret of the authority.
#[derive(Clone)]
pub(super) struct AuthorityState {
    pub(super) certificate: String,
    pub(super) key: String,
    /// Absent for an authority that somebody else made: it is used and never rotated.
    pub(super) not_after: Option<Timestamp>,
    pub(super) successor: Option<Successor>,
    pub(super) predecessor: Option<Predecessor>,
}

/// What rotation asks for.
pub(super) enum Advance {
    /// Nothing.
    Stay,
    /// This state, to be written before anything is signed with it.
    To { state: Box<AuthorityState>, step: &'static str },
}

impl AuthorityState {
    /// A first authority.
    pub(super) fn new(now: Timestamp) -> Result<Self, CertificateError> {
        let Issued { certificate, key, not_after } = certificates::make_authority(now, AUTHORITY_DAYS)?;
        Ok(Self { certificate, key, not_after: Some(not_after), successor: None, predecessor: None })
    }

    /// The next step of the rotation, if one is due.
    pub(super) fn advance(&self, now: Timestamp) -> Result<Advance, CertificateError> {
        let to = |state: Self, step| Ok(Advance::To { state: Box::new(state), step });
        if self.predecessor.as_ref().is_some_and(|old| old.not_after <= now) {
            return to(Self { predecessor: None, ..self.clone() }, "the old authority has expired and is dropped");
        }
        let Some(not_after) = self.not_after else { return Ok(Advance::Stay) };
        match &self.successor {
            Some(successor) if now.duration_since(successor.trusted_since) >= OVERLAP => {
                let Successor { issued, .. } = successor.clone();
                let promoted = Self {
                    certificate: issued.certificate,
                    key: issued.key,
                    not_after: Some(issued.not_after),
                    successor: None,
                    predecessor: Some(Predecessor { certificate: self.certificate.clone(), not_after }),
                };
                to(promoted, "the next authority signs from now on")
            }
            None if not_after.duration_since(now) < RENEW_AUTHORITY => {
                let issued = certificates::make_authority(now, AUTHORITY_DAYS)?;
                let successor = Some(Successor { issued, trusted_since: now });
                to(Self { successor, ..self.clone() }, "the next authority is trusted from now on")
            }
            Some(_) | None => Ok(Advance::Stay),
        }
    }

    /// Every certificate that clients should trust, PEM.
    pub(super) fn bundle(&self) -> String {
        let next = self.successor.as_ref().map(|successor| successor.issued.certificate.as_str());
        let old = self.predecessor.as_ref().map(|predecessor| predecessor.certificate.as_str());
        let mut bundle = String::new();
        for certificate in [Some(self.certificate.as_str()), next, old].into_iter().flatten() {
            bundle.push_str(certificate.trim_end());
            bundle.push('\n');
        }
        bundle
    }

    /// A server certificate that does not outlive its issuer.
    pub(super) fn issue(&self, names: &[String], now: Timestamp) -> Result<Issued, CertificateError> {
        let left = self.not_after.map_or(SERVER_DAYS, |end| end.duration_since(now).as_hours() / DAY.as_hours());
        certificates::make_server(&self.certificate, &self.key, names, now, SERVER_DAYS.min(left))
    }
}

/// Whether a server certificate with this end should be renewed.
pub(super) fn server_is_due(not_after: Timestamp, now: Timestamp) -> bool {
    not_after.duration_since(now) < RENEW_SERVER
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn after(now: Timestamp, days: i64) -> Timestamp {
        now.checked_add(SignedDuration::from_hours(24 * days)).unwrap()
    }

    fn advance(state: &AuthorityState, now: Timestamp) -> Option<AuthorityState> {
        match state.advance(now).unwrap() {
            Advance::Stay => None,
            Advance::To { state, .. } => Some(*state),
        }
    }

    /// Architecture §7: the overlap is longer than the longest deadline (seven days unless the user says more).
    #[test]
    fn the_next_authority_is_trusted_long_before_it_signs() {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let first = AuthorityState::new(start).unwrap();
        assert!(advance(&first, after(start, 600)).is_none());

        let announced = advance(&first, after(start, 645)).unwrap();
        assert_eq!(announced.certificate, first.certificate, "the old one still signs");
        let next = announced.successor.as_ref().unwrap().issued.certificate.clone();
        assert!(announced.bundle().contains(next.trim()));
        assert!(advance(&announced, after(start, 680)).is_none(), "not before the overlap is over");

        let promoted = advance(&announced, after(start, 691)).unwrap();
        assert_eq!(promoted.certificate, next);
        assert!(promoted.bundle().contains(first.certificate.trim()), "pods with the old bundle still verify it");
        assert!(advance(&promoted, after(start, 700)).is_none());

        let settled = advance(&promoted, after(start, 731)).unwrap();
        assert!(!settled.bundle().contains(first.certificate.trim()));
        assert!(advance(&settled, after(start, 740)).is_none());
    }

    #[test]
    fn a_server_certificate_never_outlives_its_issuer() {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let authority = AuthorityState::new(start).unwrap();
        let names = ["a.b.svc".to_owned()];
        let early = authority.issue(&names, start).unwrap();
        assert!(!server_is_due(early.not_after, start));
        assert!(server_is_due(early.not_after, after(start, 61)));
        let late = authority.issue(&names, after(start, 700)).unwrap();
        assert!(late.not_after <= authority.not_after.unwrap());
    }

    /// An administrator's own authority is used as it is.
    #[test]
    fn a_foreign_authority_is_never_rotated() {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let foreign = AuthorityState { not_after: None, ..AuthorityState::new(start).unwrap() };
        assert!(advance(&foreign, after(start, 10_000)).is_none());
        foreign.issue(&["a.b.svc".to_owned()], start).unwrap();
    }
}
