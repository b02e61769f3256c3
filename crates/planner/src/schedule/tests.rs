#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;
use rstest::rstest;

use super::slots::{Concurrency, GRACE, SlotAction, SlotView, TriggerAnswer, accept_trigger, judge};
use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn runs(schedule: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let zone = parse_time_zone(zone).unwrap();
    let schedule = CronSchedule::parse(schedule).unwrap();
    let local = |run: Timestamp| run.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    schedule.upcoming(time(after), &zone, count).into_iter().map(local).collect()
}

/// What Kubernetes takes, we take.
#[rstest]
#[case("* * * * *")]
#[case("? ? ? ? ?")]
#[case("*/5 * * * *")]
#[case("5/15 * * * *")]
#[case("0,,30 2 * * *")]
#[case("0 0 1-15/2 JAN-jun mon,Fri")]
#[case("0 0 * * *-3")]
#[case("+5 0 * * *")]
#[case("59 23 31 12 6")]
#[case("  0   2 * * *  ")]
#[case("@hourly")]
#[case("@midnight")]
#[case("@every 1h30m")]
#[case("@every 60s")]
#[case("0 0 30 2 *")]
fn kubernetes_schedules_are_accepted(#[case] schedule: &str) {
    CronSchedule::parse(schedule).unwrap();
}

/// What it refuses, we refuse, in a sentence that says what is right.
#[rstest]
#[case("", "empty")]
#[case("   ", "empty")]
#[case("0 0 * * 7", "use values from 0 to 6")]
#[case("60 0 * * *", "use values from 0 to 59")]
#[case("0 24 * * *", "use values from 0 to 23")]
#[case("0 0 0 * *", "use values from 1 to 31")]
#[case("0 0 * 13 *", "use values from 1 to 12")]
#[case("0 0 L * *", "`L` is not a number from 1 to 31")]
#[case("0 0 15W * *", "`15W`")]
#[case("0 0 * * 5#2", "`5#2`")]
#[case("0 0 * * 5L", "`5L`")]
#[case("0 0 * *", "has 4 fields")]
#[case("0 0 0 * * *", "has 6 fields")]
#[case("10-5 * * * *", "begins after its end")]
#[case("1-2-3 * * * *", "more than one dash")]
#[case("*/5/2 * * * *", "more than one slash")]
#[case("*/0 * * * *", "at least 1")]
#[case("*/x * * * *", "`x` is not a number")]
#[case("5- * * * *", "missing beside the dash")]
#[case("-5 * * * *", "missing beside the dash")]
#[case("TZ=Asia/Tokyo 0 2 * * *", "sets a time zone")]
#[case("CRON_TZ=UTC 0 2 * * *", "sets a time zone")]
#[case("@fortnightly", "@weekly")]
#[case("@Daily", "@daily")]
#[case("@every", "@every <duration>")]
#[case("@every soon", "1h30m")]
#[case("@every 59s", "1m or more")]
#[case("@every -2h", "not a duration")]
#[case("every day", "has 2 fields")]
fn other_schedules_are_refused_by_name(#[case] schedule: &str, #[case] words: &str) {
    let sentence = CronSchedule::parse(schedule).unwrap_err().to_string();
    assert!(sentence.contains(words), "{sentence}");
}

#[rstest]
#[case("", false)]
#[case("Local", false)]
#[case("local", false)]
#[case("Mars/Olympus", false)]
#[case("europe/berlin", false)]
#[case("UTC", true)]
#[case("Etc/UTC", true)]
#[case("Europe/Berlin", true)]
#[case("Asia/Calcutta", true)]
fn time_zones_are_iana_names(#[case] name: &str, #[case] accepted: bool) {
    assert_eq!(parse_time_zone(name).is_ok(), accepted);
}

#[rstest]
// Macros and steps.
#[case("@daily", "2026-03-01T12:00:00Z", &["2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00"])]
#[case("@weekly", "2026-03-01T00:00:00Z", &["2026-03-08T00:00:00+00:00"])]
#[case("@yearly", "2026-03-01T00:00:00Z", &["2027-01-01T00:00:00+00:00"])]
#[case("5/25 3 * * *", "2026-03-01T00:00:00Z", &["2026-03-01T03:05:00+00:00", "2026-03-01T03:30:00+00:00", "2026-03-01T03:55:00+00:00", "2026-03-02T03:05:00+00:00"])]
// The second is always zero, and a slot is after, never at, the time asked about.
#[case("* * * * *", "2026-03-01T00:00:00.5Z", &["2026-03-01T00:01:00+00:00"])]
#[case("0 0 * * *", "2026-03-01T00:00:00Z", &["2026-03-02T00:00:00+00:00"])]
// Both day fields: either. With a plain star on one side: both. A stepped star is no star.
#[case("0 0 13 * 5", "2026-03-01T00:00:00Z", &["2026-03-06T00:00:00+00:00", "2026-03-13T00:00:00+00:00", "2026-03-20T00:00:00+00:00"])]
#[case("0 0 */10 * 1", "2026-03-01T00:30:00Z", &["2026-03-02T00:00:00+00:00", "2026-03-09T00:00:00+00:00", "2026-03-11T00:00:00+00:00"])]
#[case("0 0 */1 * 1", "2026-03-01T00:30:00Z", &["2026-03-02T00:00:00+00:00", "2026-03-09T00:00:00+00:00"])]
// The 31st, leap days, never.
#[case("0 0 31 * *", "2026-03-31T00:00:00Z", &["2026-05-31T00:00:00+00:00", "2026-07-31T00:00:00+00:00"])]
#[case("0 0 29 2 *", "2026-03-01T00:00:00Z", &["2028-02-29T00:00:00+00:00"])]
#[case("0 0 30 2 *", "2026-03-01T00:00:00Z", &[])]
#[case(", * * * *", "2026-03-01T00:00:00Z", &[])]
// Intervals count from the last instant.
#[case("@every 90m", "2026-03-01T00:00:07.9Z", &["2026-03-01T01:30:07+00:00", "2026-03-01T03:00:07+00:00"])]
fn schedules_mean_these_instants(#[case] schedule: &str, #[case] after: &str, #[case] expected: &[&str]) {
    let count = expected.len().max(1);
    assert_eq!(runs(schedule, "Etc/UTC", after, count), expected);
}

/// Clocks change: as the CronJob controller has it.
#[rstest]
// 02:30 does not exist on 29 March 2026 in Berlin: no run that day.
#[case("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", &["2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00"])]
// 02:30 exists twice on 25 October: it runs at both.
#[case("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"])]
#[case("0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", &["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"])]
// Midnight does not exist on 8 September 2024 in Santiago: no run that day.
#[case("0 0 * * *", "America/Santiago", "2024-09-07T12:00:00Z", &["2024-09-09T00:00:00-03:00"])]
#[case("15 1 * * *", "America/New_York", "2026-11-01T04:00:00Z", &["2026-11-01T01:15:00-04:00", "2026-11-01T01:15:00-05:00"])]
#[case("0 12 * * 1", "Asia/Kathmandu", "2026-03-01T00:00:00Z", &["2026-03-02T12:00:00+05:45"])]
// Half an hour forward at Lord Howe.
#[case("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["2026-10-05T02:15:00+11:00"])]
fn clock_changes(#[case] schedule: &str, #[case] zone: &str, #[case] after: &str, #[case] expected: &[&str]) {
    assert_eq!(runs(schedule, zone, after, expected.len()), expected);
}

struct Case {
    schedule: CronSchedule,
    zone: TimeZone,
}

impl Case {
    fn nightly() -> Self {
        Self { schedule: CronSchedule::parse("0 2 * * *").unwrap(), zone: TimeZone::UTC }
    }

    fn view(&self) -> SlotView<'_> {
        SlotView {
            schedule: &self.schedule,
            zone: &self.zone,
            anchor: time("2026-03-01T00:00:00Z"),
            served: None,
            suspended: None,
            starting_deadline: None,
            concurrency: Concurrency::Allow,
            trigger_active: false,
            grace: GRACE,
        }
    }
}

const SLOT: &str = "2026-03-01T02:00:00Z";

/// Architecture §3 row 10, reliability A1, A2, A6.
#[test]
fn watchdog_makes_up_for_a_trigger_that_does_not_come() {
    let case = Case::nightly();
    let view = case.view();
    let at = |now: &str| judge(&view, time(now));
    assert_eq!(at("2026-03-01T01:00:00Z").action, SlotAction::Wait { look_again: time("2026-03-01T02:00:30Z") });
    assert_eq!(at("2026-03-01T02:00:29Z").action, SlotAction::Wait { look_again: time("2026-03-01T02:00:30Z") });
    assert_eq!(at("2026-03-01T02:00:30Z").action, SlotAction::MakeUp { slot: time(SLOT) });
    // Down for days: the latest slot only.
    let latest = SlotAction::MakeUp { slot: time("2026-03-05T02:00:00Z") };
    assert_eq!(at("2026-03-05T13:00:00Z").action, latest);
}

#[test]
fn watchdog_leaves_slots_alone_that_must_not_run() {
    let case = Case::nightly();
    let now = time("2026-03-01T03:00:00Z");
    let next_look = SlotAction::Wait { look_again: time("2026-03-02T02:00:30Z") };
    let served = SlotView { served: Some(time(SLOT)), ..case.view() };
    assert_eq!(judge(&served, now).action, next_look);
    let paused = SlotView { suspended: Some("BackupConfiguration demo/web is paused"), ..case.view() };
    let decision = judge(&paused, now);
    assert_eq!(decision.action, next_look);
    assert!(decision.message().contains("BackupConfiguration demo/web is paused"));
    let resumed = SlotView { anchor: time("2026-03-01T02:30:00Z"), ..case.view() };
    assert_eq!(judge(&resumed, now).action, next_look);
    let late = SlotView { starting_deadline: Some(SignedDuration::from_secs(600)), ..case.view() };
    assert!(matches!(
        judge(&late, now).action,
        SlotAction::Missed { slot, .. } if slot == time(SLOT)
    ));
    let forbidden = SlotView { concurrency: Concurrency::Forbid, trigger_active: true, ..case.view() };
    assert_eq!(judge(&forbidden, now).last().map(|reason| reason.reason), Some("ConcurrencyForbidden"));
}

#[test]
fn a_schedule_without_slots_says_so() {
    let never = Case { schedule: CronSchedule::parse("0 0 30 2 *").unwrap(), zone: TimeZone::UTC };
    assert_eq!(judge(&never.view(), time(SLOT)).action, SlotAction::Never);
}

#[rstest]
#[case(None, None, None, TriggerAnswer::Create)]
#[case(Some("2026-03-01T01:00:00Z"), None, None, TriggerAnswer::Create)]
#[case(Some(SLOT), None, None, TriggerAnswer::AlreadyServed)]
#[case(Some("2026-03-02T02:00:00Z"), None, None, TriggerAnswer::AlreadyServed)]
#[case(None, Some("2026-03-01T02:10:00Z"), None, TriggerAnswer::Suspended)]
#[case(None, Some("2026-03-01T01:10:00Z"), None, TriggerAnswer::Create)]
#[case(None, None, Some("paused"), TriggerAnswer::Suspended)]
fn a_trigger_makes_at_most_one_session(
    #[case] served: Option<&str>,
    #[case] resumed: Option<&str>,
    #[case] suspended: Option<&str>,
    #[case] expected: TriggerAnswer,
) {
    let decision = accept_trigger(time(SLOT), served.map(time), resumed.map(time), suspended);
    assert_eq!(decision.action, expected);
}

fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let number = least..=most;
    prop_oneof![
        Just("*".to_owned()),
        (1_u32..20).prop_map(|step| format!("*/{step}")),
        number.clone().prop_map(|value| value.to_string()),
        (number.clone(), number.clone()).prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        prop::collection::vec(number.clone(), 1..4).prop_map(|values| values
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")),
        (number, 1_u32..20).prop_map(|(value, step)| format!("{value}/{step}")),
    ]
}

fn any_schedule() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6))
        .prop_map(|(minute, hour, day, month, week)| format!("{minute} {hour} {day} {month} {week}"))
}

/// The meaning of the fields, written down a second time.
fn allows(schedule: &CronSchedule, civil: jiff::civil::DateTime) -> bool {
    let super::cron::Rule::Fields(fields) = &schedule.rule else {
        panic!("only schedules with fields are generated");
    };
    let month_day = fields.day_of_month.has(civil.day());
    let week_day = fields.day_of_week.has(civil.weekday().to_sunday_zero_offset());
    let either = !fields.day_of_month.star && !fields.day_of_week.star;
    fields.minute.has(civil.minute())
        && fields.hour.has(civil.hour())
        && fields.month.has(civil.month())
        && if either { month_day || week_day } else { month_day && week_day }
}

const ZONES: [&str; 6] =
    ["Etc/UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Runs go forward, and each is a moment whose civil time the schedule allows; a brute-force
    /// walk over the minutes in between finds no earlier one.
    #[test]
    fn next_is_the_first_matching_minute(
        text in any_schedule(),
        zone in prop::sample::select(&ZONES[..]),
        start in 1_700_000_000_i64..1_900_000_000,
    ) {
        let zone = parse_time_zone(zone).unwrap();
        let schedule = CronSchedule::parse(&text).unwrap();
        let after = Timestamp::from_second(start).unwrap();
        let next = schedule.next_after(after, &zone);
        if let Some(next) = next {
            prop_assert!(next > after);
            prop_assert_eq!(zone.to_datetime(next).second(), 0);
        }
        // Two days, away from clock changes: there the controller has quirks of its own.
        let end = start + 2 * 86_400;
        let offset = |second: i64| zone.to_offset(Timestamp::from_second(second).unwrap());
        if (0..=72).all(|hours| offset(start - 86_400 + hours * 3_600) == offset(start)) {
            let mut minute = start - start.rem_euclid(60) + 60;
            let mut found = None;
            while minute <= end && found.is_none() {
                let candidate = Timestamp::from_second(minute).unwrap();
                if allows(&schedule, zone.to_datetime(candidate)) {
                    found = Some(candidate);
                }
                minute += 60;
            }
            prop_assert_eq!(found, next.filter(|next| next.as_second() <= minute - 60));
        }
    }

    /// The latest slot is the last of the forward walk.
    #[test]
    fn latest_slot_agrees_with_the_forward_walk(
        text in any_schedule(),
        anchor in 1_700_000_000_i64..1_900_000_000,
        span in 0_i64..3 * 86_400,
    ) {
        let schedule = CronSchedule::parse(&text).unwrap();
        let (anchor, now) = (
            Timestamp::from_second(anchor).unwrap(),
            Timestamp::from_second(anchor + span).unwrap(),
        );
        let walk = std::iter::successors(schedule.next_after(anchor, &TimeZone::UTC), |last| {
            schedule.next_after(*last, &TimeZone::UTC)
        })
        .take_while(|slot| *slot <= now)
        .last();
        prop_assert_eq!(schedule.latest_slot(anchor, now, &TimeZone::UTC), walk);
    }

    /// No text breaks the reader.
    #[test]
    fn any_text_is_accepted_or_refused(text in ".{0,40}") {
        let _ = CronSchedule::parse(&text);
        let _ = parse_time_zone(&text);
    }
}
/// The controller's own parser gave these instants; ours must give the same.
#[test]
fn instants_agree_with_the_controllers_parser() {
    for line in include_str!("reference.txt").lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = line.split('|').collect();
        let [schedule, zone, after, expected @ ..] = parts.as_slice() else {
            panic!("{line}");
        };
        let zone = parse_time_zone(zone).unwrap();
        let after = Timestamp::from_second(after.parse().unwrap()).unwrap();
        let upcoming = CronSchedule::parse(schedule).unwrap().upcoming(after, &zone, expected.len());
        let mut seen: Vec<String> = upcoming.iter().map(|slot| slot.as_second().to_string()).collect();
        seen.resize(expected.len(), "none".to_owned());
        assert_eq!(seen, expected, "{line}");
    }
}
