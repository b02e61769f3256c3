//! Time zones by their IANA names.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::ScheduleError;

/// The time zone of that name, from the database compiled in, so that the answer does not depend
/// on the machine.
///
/// # Errors
/// If Kubernetes would refuse the name: empty, `Local`, unknown, or in other letter case.
pub fn parse_time_zone(name: &str) -> Result<TimeZone, ScheduleError> {
    let refuse = || ScheduleError::Zone { name: name.to_owned() };
    if name.is_empty() || name.eq_ignore_ascii_case("local") {
        return Err(refuse());
    }
    let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| refuse())?;
    match zone.iana_name() {
        Some(known) if known == name => Ok(zone),
        _ => Err(refuse()),
    }
}
