#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;

use crd_types::{FailedSnapshotsKeepPolicy, RetentionPolicy, SuccessfulSnapshotsKeepPolicy};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;

use super::*;

const NOW: &str = "2026-03-15T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn snapshot(name: &str, taken: &str, outcome: Outcome) -> SnapshotView {
    SnapshotView {
        name: name.to_owned(),
        id: name.to_owned(),
        taken: taken.parse().unwrap(),
        outcome,
        paused: false,
        data_removed: false,
        in_use: None,
    }
}

/// A history with several in an hour, a day, a week, a month and a year, across ISO week 53, and
/// with failures, one running and one pending.
fn history() -> Vec<SnapshotView> {
    use Outcome::{Failed, Succeeded, Unfinished};
    let taken = [
        ("2026-03-15T11:55:00Z", Unfinished),
        ("2026-03-15T11:30:00Z", Succeeded),
        ("2026-03-15T11:00:00Z", Succeeded),
        ("2026-03-15T10:30:00Z", Failed),
        ("2026-03-15T10:00:00Z", Succeeded),
        ("2026-03-15T02:00:00Z", Succeeded),
        ("2026-03-14T23:59:59Z", Succeeded),
        ("2026-03-14T02:00:00Z", Failed),
        ("2026-03-13T02:00:00Z", Succeeded),
        ("2026-03-09T02:00:00Z", Succeeded),
        ("2026-03-08T02:00:00Z", Succeeded),
        ("2026-02-28T02:00:00Z", Succeeded),
        ("2026-02-01T02:00:00Z", Failed),
        ("2026-01-31T02:00:00Z", Succeeded),
        ("2026-01-02T02:00:00Z", Succeeded),
        ("2026-01-01T02:00:00Z", Succeeded),
        ("2025-12-31T02:00:00Z", Succeeded),
        ("2025-06-01T02:00:00Z", Unfinished),
        ("2025-05-01T02:00:00Z", Succeeded),
        ("2024-12-30T02:00:00Z", Succeeded),
        ("2024-12-29T02:00:00Z", Succeeded),
        ("2023-07-01T02:00:00Z", Failed),
        ("2023-07-01T01:00:00Z", Succeeded),
    ];
    taken.into_iter().map(|(time, outcome)| snapshot(time, time, outcome)).collect()
}

fn rules(max_age: Option<&str>, counts: Option<KeepCounts>, failed_last: u32) -> Rules {
    Rules { max_age: max_age.map(|age| RetentionPeriod::parse(age).unwrap()), successful: counts, failed_last }
}

fn counts(last: u32, hourly: u32, daily: u32, weekly: u32, monthly: u32, yearly: u32) -> KeepCounts {
    KeepCounts { last, hourly, daily, weekly, monthly, yearly }
}

fn render(plan: &RetentionPlan, history: &[SnapshotView]) -> String {
    let mut text = String::new();
    for verdict in &plan.verdicts {
        let outcome = history.iter().find(|view| view.name == verdict.name).map(|view| view.outcome).unwrap();
        writeln!(text, "{} {:<10} {}", verdict.name, format!("{outcome:?}"), verdict.message).unwrap();
    }
    text
}

/// Specification §2.9, one golden table for each combination.
#[rstest]
#[case("last_3", rules(None, Some(counts(3, 0, 0, 0, 0, 0)), 1))]
#[case("last_1_failed_2", rules(None, Some(counts(1, 0, 0, 0, 0, 0)), 2))]
#[case("hourly_2", rules(None, Some(counts(0, 2, 0, 0, 0, 0)), 0))]
#[case("daily_3", rules(None, Some(counts(0, 0, 3, 0, 0, 0)), 1))]
#[case("weekly_4", rules(None, Some(counts(0, 0, 0, 4, 0, 0)), 1))]
#[case("monthly_6", rules(None, Some(counts(0, 0, 0, 0, 6, 0)), 1))]
#[case("yearly_10", rules(None, Some(counts(0, 0, 0, 0, 0, 10)), 1))]
#[case("last_2_daily_2_weekly_2_monthly_2_yearly_2", rules(None, Some(counts(2, 0, 2, 2, 2, 2)), 1))]
#[case("max_2mo", rules(Some("2mo"), None, 1))]
#[case("max_2mo_last_1", rules(Some("2mo"), Some(counts(1, 0, 0, 0, 0, 0)), 1))]
#[case("max_1h_last_5", rules(Some("1h"), Some(counts(5, 0, 0, 0, 0, 0)), 5))]
#[case("max_1y_yearly_3", rules(Some("1y"), Some(counts(0, 0, 0, 0, 0, 3)), 100))]
#[case("max_1m", rules(Some("1m"), None, 1))]
fn plans(#[case] options: &str, #[case] rules: Rules) {
    let history = history();
    let text = render(&plan(&rules, &history, now()), &history);
    insta::assert_snapshot!(options, text);
}

#[test]
fn what_is_read_paused_or_dated_ahead_stays_and_shields_no_other() {
    let mut history = history();
    history[5].in_use = Some("RestoreSession demo/back".to_owned());
    history[8].paused = true;
    history[20].data_removed = true;
    history.push(snapshot("ahead", "2026-03-16T00:00:00Z", Outcome::Succeeded));
    let keep_two = rules(None, Some(counts(2, 0, 0, 0, 0, 0)), 1);
    insta::assert_snapshot!("last_2_with_readers", render(&plan(&keep_two, &history, now()), &history));
}

#[rstest]
#[case("2mo", 60 * 24)]
#[case("1y6mo", (365 + 180) * 24)]
#[case(" 1w2d ", 9 * 24)]
#[case("1d12h", 36)]
#[case("60m", 1)]
#[case("1d1d", 24)]
#[case("2d-1h", 47)]
#[case("1h2d", 49)]
fn periods_are_read_as_kubestash_reads_them(#[case] text: &str, #[case] hours: i64) {
    assert_eq!(RetentionPeriod::parse(text).unwrap().duration(), SignedDuration::from_hours(hours));
}

#[rstest]
#[case("")]
#[case("   ")]
#[case("30")]
#[case("2 mo")]
#[case("d")]
#[case("-d")]
#[case("1s")]
#[case("1.5d")]
#[case("99999999999999999999y")]
#[case("9223372036854775807y")]
#[case("-1d")]
#[case("0d")]
fn other_periods_are_refused(#[case] text: &str) {
    let sentence = RetentionPeriod::parse(text).unwrap_err().to_string();
    assert!(sentence.contains("`2mo`"), "{sentence}");
}

fn policy(max: Option<&str>, successful: Option<Option<i32>>, failed: Option<i32>) -> RetentionPolicy {
    let mut policy = RetentionPolicy::default();
    policy.metadata.name = Some("keep".to_owned());
    policy.metadata.namespace = Some("demo".to_owned());
    policy.spec.max_retention_period = max.map(ToOwned::to_owned);
    policy.spec.successful_snapshots =
        successful.map(|last| SuccessfulSnapshotsKeepPolicy { last, ..SuccessfulSnapshotsKeepPolicy::default() });
    policy.spec.failed_snapshots = failed.map(|last| FailedSnapshotsKeepPolicy { last: Some(last) });
    policy
}

#[test]
fn policies_are_read_with_their_defaults() {
    let read = |policy| Rules::from_policy(&policy);
    assert_eq!(read(policy(Some("2mo"), None, None)), Ok(rules(Some("2mo"), None, 1)));
    assert_eq!(read(policy(None, Some(Some(3)), Some(0))), Ok(rules(None, Some(counts(3, 0, 0, 0, 0, 0)), 0)));
    // Nothing set among the counts: nothing is removed by number.
    assert_eq!(read(policy(None, Some(None), None)), Ok(rules(None, None, 1)));
    assert_eq!(read(policy(None, Some(Some(0)), None)), Ok(rules(None, None, 1)));
}

#[rstest]
#[case(policy(None, None, None), "neither maxRetentionPeriod")]
#[case(policy(Some(""), None, None), "neither maxRetentionPeriod")]
#[case(policy(Some("soon"), None, None), "`2mo`")]
#[case(policy(None, Some(Some(-1)), None), "successfulSnapshots.last is -1")]
#[case(policy(Some("2mo"), None, Some(-2)), "failedSnapshots.last is -2")]
fn policies_that_cannot_be_applied_are_named(#[case] policy: RetentionPolicy, #[case] words: &str) {
    let sentence = Rules::from_policy(&policy).unwrap_err().to_string();
    assert!(sentence.contains("RetentionPolicy demo/keep"), "{sentence}");
    assert!(sentence.contains(words), "{sentence}");
}

#[test]
fn snapshots_are_grouped_by_repository_and_session() {
    let text = |repository: &str, session: &str, name: &str, deleting: bool| {
        let deleted = if deleting { ", deletionTimestamp: '2026-03-01T00:00:00Z'" } else { "" };
        let text = format!(
            "apiVersion: storage.kubestash.com/v1alpha1\nkind: Snapshot\n\
             metadata: {{name: {name}, namespace: demo, creationTimestamp: '2026-01-01T00:00:00Z'{deleted}}}\n\
             spec: {{repository: {repository}, session: {session}, snapshotID: id-{name}}}\n\
             status: {{phase: Succeeded, snapshotTime: '2026-02-01T00:00:00Z'}}\n"
        );
        serde_saphyr::from_str::<crd_types::Snapshot>(&text).unwrap()
    };
    let snapshots = [
        text("web", "nightly", "a", false),
        text("web", "hourly", "b", false),
        text("api", "nightly", "c", false),
        text("web", "nightly", "d", true),
    ];
    let groups = group(&snapshots);
    assert_eq!(groups.len(), 3);
    let nightly = &groups[&("web".to_owned(), "nightly".to_owned())];
    let expected = SnapshotView { id: "id-a".to_owned(), ..snapshot("a", "2026-02-01T00:00:00Z", Outcome::Succeeded) };
    assert_eq!(nightly, &[expected]);
}

fn any_view() -> impl Strategy<Value = SnapshotView> {
    (0_i64..40_000, 0_u8..6, any::<u16>(), prop::bool::weighted(0.05), prop::bool::weighted(0.05)).prop_map(
        |(hours, outcome, id, paused, data_removed)| SnapshotView {
            name: format!("snapshot-{id}"),
            id: format!("{id}"),
            taken: now() - SignedDuration::from_mins(hours * 17),
            outcome: match outcome {
                0 => Outcome::Unfinished,
                1 => Outcome::Failed,
                _ => Outcome::Succeeded,
            },
            paused,
            data_removed,
            in_use: None,
        },
    )
}

fn any_rules() -> impl Strategy<Value = Rules> {
    (prop::option::of(1_u32..900), prop::option::of((0_u32..5, 0_u32..5, 0_u32..5, 0_u32..5, 0_u32..5, 0_u32..4)), 0_u32..4)
        .prop_map(|(days, keep, failed)| {
            let keep = keep
                .map(|(last, hourly, daily, weekly, monthly, yearly)| counts(last, hourly, daily, weekly, monthly, yearly))
                .filter(|keep| *keep != KeepCounts::default());
            rules(days.map(|days| format!("{days}d")).as_deref(), keep, failed)
        })
}

proptest! {
    /// The promises that hold whatever the policy says: never are there fewer snapshots than it keeps.
    #[test]
    fn a_plan_keeps_its_promises(
        rules in any_rules(),
        history in prop::collection::vec(any_view(), 0..60),
    ) {
        let plan = plan(&rules, &history, now());
        prop_assert_eq!(plan.verdicts.len(), history.len());
        let fate = |view: &SnapshotView| {
            // Two of one name are told apart by nothing here; the generator makes few of them.
            plan.verdicts.iter().filter(|verdict| verdict.name == view.name).collect::<Vec<_>>()
        };
        let removed = |view: &SnapshotView| {
            fate(view).iter().all(|verdict| matches!(verdict.fate, Fate::Remove(_)))
        };
        let live: Vec<&SnapshotView> = history.iter().filter(|view| !view.data_removed).collect();
        for view in &live {
            if view.outcome == Outcome::Unfinished || view.paused {
                prop_assert!(!removed(view), "{} must be left alone", view.name);
            }
        }
        let mut succeeded: Vec<&&SnapshotView> =
            live.iter().filter(|view| view.outcome == Outcome::Succeeded).collect();
        succeeded.sort_by_key(|view| std::cmp::Reverse((view.taken, view.id.clone())));
        if let Some(newest) = succeeded.first() {
            prop_assert!(!removed(newest), "the newest Succeeded Snapshot stays");
        }
        let young = |view: &&&&SnapshotView| {
            rules.max_age.as_ref().is_none_or(|age| view.taken >= now() - age.duration())
        };
        let last = rules.successful.map_or(usize::MAX, |counts| counts.last as usize);
        for view in succeeded.iter().filter(young).take(last) {
            prop_assert!(!removed(view), "among the last {last}");
        }
        let mut failed: Vec<&&SnapshotView> =
            live.iter().filter(|view| view.outcome == Outcome::Failed).collect();
        failed.sort_by_key(|view| std::cmp::Reverse((view.taken, view.id.clone())));
        for view in failed.iter().filter(young).take(rules.failed_last as usize) {
            prop_assert!(!removed(view), "among the last failed");
        }
    }

    /// Applying a plan and planning again at the same time removes nothing more (I11).
    #[test]
    fn a_plan_applied_is_a_plan_done(
        rules in any_rules(),
        history in prop::collection::vec(any_view(), 0..40),
    ) {
        let first = plan(&rules, &history, now());
        let gone = first.removals();
        let left: Vec<SnapshotView> =
            history.iter().filter(|view| !gone.contains(&view.name.as_str())).cloned().collect();
        let second = plan(&rules, &left, now());
        prop_assert_eq!(second.removals(), Vec::<&str>::new());
    }

    #[test]
    fn no_text_breaks_the_period(text in ".{0,20}") {
        let _ = RetentionPeriod::parse(&text);
    }
}
