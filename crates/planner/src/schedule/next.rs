//! Which instants a schedule means.
//!
//! The arithmetic follows the CronJob controller's step by step, also where clocks change: a time
//! that a spring-forward skips is not run that day, and one that autumn repeats runs twice only
//! where the controller would run it twice.

use jiff::{Span, Timestamp, civil, tz::TimeZone};

use super::cron::{CronSchedule, Fields, Rule};

/// Years after which a schedule that has not matched never will: leap days come within eight only
/// around 2100, but the controller gives up after five, and so do we.
const YEARS_AHEAD: i16 = 5;

/// How far back to look for the latest slot, in seconds, first window first. Each is tried only
/// when the one before it holds no slot, which bounds the slots that are stepped through.
const WINDOWS: [i64; 5] = [3_600, 86_400, 31 * 86_400, 366 * 86_400, 5 * 366 * 86_400];

const HOUR: i64 = 3_600;
const MINUTE: i64 = 60;

impl CronSchedule {
    /// The first instant after `after`, or `None` if there is none within five years.
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let second = match &self.rule {
            Rule::Every { seconds } => after.as_second().checked_add(*seconds)?,
            Rule::Fields(fields) => next_match(fields, after.as_second(), zone)?,
        };
        Timestamp::from_second(second).ok()
    }

    /// The next `count` instants after `after`.
    pub fn upcoming(&self, after: Timestamp, zone: &TimeZone, count: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(after, zone), |last| self.next_after(*last, zone)).take(count).collect()
    }

    /// The latest instant after `anchor` that is not after `now`: the slot that should have been
    /// served by now. `anchor` is the last slot that is settled; `@every` counts from it.
    pub fn latest_slot(&self, anchor: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if now <= anchor {
            return None;
        }
        if let Rule::Every { seconds } = &self.rule {
            let turns = (now.as_second() - anchor.as_second()) / seconds;
            let slot = anchor.as_second() + turns * seconds;
            return Timestamp::from_second(slot).ok().filter(|_| turns > 0);
        }
        for window in WINDOWS {
            let start = now.as_second().saturating_sub(window);
            let start = Timestamp::from_second(start).map_or(anchor, |start| start.max(anchor));
            let mut latest = None;
            let mut cursor = start;
            while let Some(slot) = self.next_after(cursor, zone).filter(|slot| *slot <= now) {
                latest = Some(slot);
                cursor = slot;
            }
            if latest.is_some() || start == anchor {
                return latest;
            }
        }
        None
    }
}

/// The first second after `after` whose civil time in `zone` matches, in seconds since 1970.
fn next_match(fields: &Fields, after: i64, zone: &TimeZone) -> Option<i64> {
    let mut time = after.checked_add(1)?;
    let last_year = civil_at(time, zone)?.year().checked_add(YEARS_AHEAD)?;
    // Whether smaller units were set to their least value already.
    let mut lowered = false;
    'again: loop {
        if civil_at(time, zone)?.year() > last_year {
            return None;
        }
        while !fields.month.has(civil_at(time, zone)?.month()) {
            if !lowered {
                lowered = true;
                let first = civil_at(time, zone)?.date().first_of_month();
                time = at_civil(first.at(0, 0, 0, 0), zone)?;
            }
            time = at_civil(one_month_later(civil_at(time, zone)?)?, zone)?;
            if civil_at(time, zone)?.month() == 1 {
                continue 'again;
            }
        }
        while !day_matches(fields, civil_at(time, zone)?) {
            let mut civil = civil_at(time, zone)?;
            if !lowered {
                lowered = true;
                civil = civil_at(at_civil(civil.date().at(0, 0, 0, 0), zone)?, zone)?;
            }
            let tomorrow = civil.date().tomorrow().ok()?;
            time = at_civil(tomorrow.to_datetime(civil.time()), zone)?;
            // Midnight may not exist, or exist twice: step to the nearest one there is.
            let hour = i64::from(civil_at(time, zone)?.hour());
            if hour > 12 {
                time += (24 - hour) * HOUR;
            } else {
                time -= hour * HOUR;
            }
            if civil_at(time, zone)?.day() == 1 {
                continue 'again;
            }
        }
        while !fields.hour.has(civil_at(time, zone)?.hour()) {
            if !lowered {
                lowered = true;
                let civil = civil_at(time, zone)?;
                time = at_civil(civil.date().at(civil.hour(), 0, 0, 0), zone)?;
            }
            time += HOUR;
            if civil_at(time, zone)?.hour() == 0 {
                continue 'again;
            }
        }
        while !fields.minute.has(civil_at(time, zone)?.minute()) {
            if !lowered {
                lowered = true;
                time -= time.rem_euclid(MINUTE);
            }
            time += MINUTE;
            if civil_at(time, zone)?.minute() == 0 {
                continue 'again;
            }
        }
        while civil_at(time, zone)?.second() != 0 {
            lowered = true;
            time += 1;
            if civil_at(time, zone)?.second() == 0 {
                continue 'again;
            }
        }
        return Some(time);
    }
}

/// Both day fields restricted: either suffices. One of them `*`: both must match.
fn day_matches(fields: &Fields, time: civil::DateTime) -> bool {
    let month_day = fields.day_of_month.has(time.day());
    let week_day = fields.day_of_week.has(time.weekday().to_sunday_zero_offset());
    if fields.day_of_month.star || fields.day_of_week.star { month_day && week_day } else { month_day || week_day }
}

/// The same day and time of the next month, where a day too many runs over into the month after.
fn one_month_later(time: civil::DateTime) -> Option<civil::DateTime> {
    let first = time.date().first_of_month();
    let next = first.checked_add(Span::new().months(1)).ok()?;
    let date = next.checked_add(Span::new().days(time.day() - 1)).ok()?;
    Some(date.to_datetime(time.time()))
}

fn offset_at(second: i64, zone: &TimeZone) -> Option<i64> {
    let time = Timestamp::from_second(second).ok()?;
    Some(i64::from(zone.to_offset(time).seconds()))
}

fn civil_at(second: i64, zone: &TimeZone) -> Option<civil::DateTime> {
    Timestamp::from_second(second).ok().map(|time| zone.to_datetime(time))
}

/// The instant Go's `time.Date` gives a civil time, also where that time is skipped or repeated:
/// the offset in force as if the civil time were UTC, or else the one in force at that guess.
fn at_civil(civil: civil::DateTime, zone: &TimeZone) -> Option<i64> {
    let as_utc = TimeZone::UTC.to_timestamp(civil).ok()?.as_second();
    let first = offset_at(as_utc, zone)?;
    if first == 0 {
        return Some(as_utc);
    }
    let guess = as_utc - first;
    let second = offset_at(guess, zone)?;
    Some(as_utc - if second == first { first } else { second })
}
