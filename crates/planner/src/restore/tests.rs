#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use crd_types::{RestorePhase, Snapshot, conditions};
use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;
use serde::de::DeserializeOwned;
use world::{World, ended};

use super::*;
use crate::{
    attempt::{JobState, Outcome},
    session::Preparation,
    workload::TargetKind,
};

fn parse<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).expect("fixture")
}

fn snapshot(name: &str, taken: &str, phase: &str, components: &str) -> Snapshot {
    parse(&format!(
        "
metadata: {{name: {name}, namespace: prod}}
spec: {{repository: repo, session: nightly}}
status:
  phase: {phase}
  totalComponents: 1
  snapshotTime: '{taken}'
  conditions: [{{type: SnapshotMetadataUploaded, status: 'True', lastTransitionTime: '{taken}'}}]
  components: {components}
"
    ))
}

fn complete(name: &str, taken: &str) -> Snapshot {
    let components = "{dump: {phase: Succeeded, driver: Restic, path: repository/v1/nightly/dump, resticStats: [{summary: {id: aa, hostPath: /data}}]}}";
    snapshot(name, taken, "Succeeded", components)
}

/// Specification §1.6 and §2.7: how a data source is read. A missing one is refused, not a crash.
#[rstest]
#[case("{}", Err("DataSourceMissing"))]
#[case("{dataSource: {}}", Err("DataSourceMissing"))]
#[case("{dataSource: {snapshot: latest}}", Err("RepositoryNotNamed"))]
#[case("{dataSource: {pitr: {targetTime: '2026-01-01T00:00:00Z'}}}", Err("RepositoryNotNamed"))]
#[case("{dataSource: {repository: repo, pitr: {}}}", Err("TargetTimeMissing"))]
#[case("{dataSource: {snapshot: one}, hooks: {preRestore: [{name: x}]}}", Err("HooksNotSupported"))]
#[case("{dataSource: {snapshot: one}, manifestOptions: {workload: {restoreNamespace: x}}}", Err("ManifestsNotSupported"))]
#[case("{dataSource: {snapshot: one}}", Ok(Choice::Named("one".to_owned())))]
#[case("{dataSource: {snapshot: latest, repository: repo}}", Ok(Choice::Newest { repository: "repo".to_owned(), until: None }))]
fn data_sources_are_read(#[case] spec: &str, #[case] expected: Result<Choice, &str>) {
    let session = parse(&format!("{{metadata: {{name: back, namespace: prod}}, spec: {spec}}}"));
    assert_eq!(choice(&session).map_err(|error| error.reason()), expected);
}

#[test]
fn the_newest_that_qualifies_is_chosen() {
    let mut removed = complete("removed", "2026-01-05T00:00:00Z");
    removed.metadata.annotations = Some([("orlop.dev/data-removed".to_owned(), "now".to_owned())].into());
    let snapshots = [
        complete("one", "2026-01-01T00:00:00Z"),
        complete("two", "2026-01-02T00:00:00Z"),
        snapshot("failed", "2026-01-03T00:00:00Z", "Failed", "{dump: {phase: Failed}}"),
        snapshot("running", "2026-01-04T00:00:00Z", "Running", "{dump: {phase: Running}}"),
        removed,
    ];
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let name = |until| newest(&snapshots, "prod", "repo", until).map(|found| found.metadata.name.clone().unwrap());
    assert_eq!(name(None).unwrap(), "two");
    assert_eq!(name(Some((at("2026-01-01T12:00:00Z"), true))).unwrap(), "one");
    assert_eq!(name(Some((at("2026-01-02T00:00:00Z"), true))).unwrap(), "two");
    assert_eq!(name(Some((at("2026-01-02T00:00:00Z"), false))).unwrap(), "one");
    let error = name(Some((at("2025-01-01T00:00:00Z"), true))).unwrap_err();
    insta::assert_snapshot!(error, @"Repository prod/repo has no Succeeded Snapshot taken at 2025-01-01T00:00:00Z or before: make a backup first");
}

#[test]
fn a_named_snapshot_is_checked() {
    let source = |yaml: &str| parse::<crd_types::RestoreDataSource>(yaml);
    let good = complete("one", "2026-01-01T00:00:00Z");
    check_named(&good, &source("{snapshot: one}")).unwrap();
    let other = check_named(&good, &source("{snapshot: one, repository: other}")).unwrap_err();
    assert_eq!(other.reason(), "SnapshotOfOtherRepository");
    let failed = snapshot("bad", "2026-01-01T00:00:00Z", "Failed", "{dump: {phase: Failed}}");
    assert_eq!(check_named(&failed, &source("{snapshot: bad}")).unwrap_err().reason(), "SnapshotNotSucceeded");
}

/// Specification §4.3: components are matched leniently; §4.6: what a target takes.
#[test]
fn components_are_selected() {
    let stateful = snapshot(
        "sts",
        "2026-01-01T00:00:00Z",
        "Succeeded",
        "{dump-pod-0: {phase: Succeeded, path: p0, resticStats: [{summary: {id: aa, hostPath: /data}}]}, dump-pod-1: {phase: Succeeded, path: p1, resticStats: [{summary: {id: bb, hostPath: /data}}]}, vs: {phase: Succeeded, driver: VolumeSnapshotter}}",
    );
    let selected = |wanted: &[&str], target| {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        components(&stateful, &wanted, target)
    };
    let one = selected(&["pod-0"], Some((TargetKind::Deployment, "web"))).unwrap();
    assert_eq!((one[0].component.as_str(), one[0].ids.as_slice()), ("dump-pod-0", ["aa".to_owned()].as_slice()));
    assert_eq!(selected(&["pod-0", "dump-pod-1"], None).unwrap().len(), 2);
    let reason = |result: Result<Vec<ComponentSource>, SourceError>| result.unwrap_err().reason();
    assert_eq!(reason(selected(&["pod-7"], None)), "ComponentUnknown");
    assert_eq!(reason(selected(&["vs"], None)), "DriverNotSupported");
    assert_eq!(reason(selected(&[], Some((TargetKind::Deployment, "web")))), "SeveralComponents");
}

/// Specification §2.7, the whole of it.
#[test]
fn a_restore_that_goes_well() {
    let mut world = World::new();
    world.settle();
    assert_eq!(world.phase(), RestorePhase::Running);
    assert_eq!(world.status().paused_backups.len(), 1);
    assert!(holds_backups(&world.session));
    assert_eq!(pinned_snapshot(&world.session), Some("one"));
    world.end(1, Some(ended(Outcome::Succeeded, "")));
    world.advance(61);
    world.settle();
    assert_eq!(world.phase(), RestorePhase::Succeeded);
    let status = world.status();
    assert_eq!(status.duration.as_deref(), Some("1m1s"));
    assert!(status.paused_backups.is_empty());
    assert!(!holds_backups(&world.session));
    let order: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(order, ["ValidationPassed", "orlop.dev/Progressing", "RestoreExecutorEnsured", "MetricsPushed"]);
}

/// Architecture §4.1: Invalid is not terminal while its cause can be repaired.
#[test]
fn invalid_is_repaired() {
    let mut world = World::new();
    world.source = Err(Reason::new("validate", "SnapshotNotFound", "Snapshot prod/one does not exist"));
    world.settle();
    assert_eq!((world.phase(), world.reason()), (RestorePhase::Invalid, "SnapshotNotFound"));
    world.source = Ok(vec!["dump".to_owned()]);
    world.preparation = Preparation::Refused(Reason::new("prepare", "PathNotMounted", "path /data lies in no volume"));
    world.settle();
    assert_eq!((world.phase(), world.reason()), (RestorePhase::Invalid, "PathNotMounted"));
    world.preparation = World::ready();
    world.settle();
    assert_eq!(world.phase(), RestorePhase::Running);
}

/// Specification §2.7 step 2: a missing target is waited for.
#[test]
fn a_missing_target_is_waited_for() {
    let mut world = World::new();
    world.preparation = Preparation::Waiting(Reason::new("prepare", "TargetNotFound", "Deployment prod/web does not exist"));
    world.settle();
    assert_eq!((world.phase(), world.status().target_found), (RestorePhase::Pending, Some(false)));
    world.advance(24 * 3600);
    world.settle();
    assert_eq!(world.phase(), RestorePhase::Pending, "nothing stands still that has not begun");
    world.preparation = World::ready();
    world.settle();
    assert_eq!((world.phase(), world.status().target_found), (RestorePhase::Running, Some(true)));
}

#[test]
fn an_answer_is_final_and_a_death_is_not() {
    let mut failed = World::new();
    failed.settle();
    failed.end(1, Some(ended(Outcome::Failed, "no space left on /data")));
    failed.settle();
    assert_eq!(failed.phase(), RestorePhase::Failed);
    assert_eq!(failed.status().components["dump"].error.as_deref(), Some("no space left on /data"));

    let mut killed = World::new();
    for attempt in 1..=3 {
        killed.settle();
        assert_eq!(killed.phase(), RestorePhase::Running);
        killed.end(attempt, None);
    }
    killed.settle();
    assert_eq!(killed.phase(), RestorePhase::Failed);
    assert!(conditions::is_true(&killed.status().conditions, conditions::RESTORE_INCOMPLETE));
}

#[rstest]
#[case(Some("10m"), 600)]
#[case(None, 1800)]
fn time_runs_out(#[case] timeout: Option<&str>, #[case] seconds: i64) {
    let mut world = World::new();
    world.session.spec.restore_timeout = timeout.map(str::to_owned);
    world.settle();
    world.advance(seconds);
    world.settle();
    assert!(matches!(world.jobs[0].state, JobState::Deleting(_)));
    assert_eq!(world.phase(), RestorePhase::Running);
    world.advance(45);
    world.settle();
    assert_eq!(world.phase(), RestorePhase::Failed);
    assert!(world.status().components["dump"].error.clone().unwrap().starts_with("deadline exceeded"));
}

#[test]
fn an_invalid_session_ends_with_its_deadline() {
    let mut world = World::new();
    world.session.spec.restore_timeout = Some("10m".to_owned());
    world.source = Err(Reason::new("validate", "SnapshotNotFound", "Snapshot prod/one does not exist"));
    world.settle();
    world.advance(600);
    world.settle();
    assert_eq!((world.phase(), stage(&world.session)), (RestorePhase::Invalid, Stage::Complete));
    assert!(world.plan().actions.is_empty());
}

#[derive(Debug, Clone)]
enum Event {
    Wait(i64),
    End(Option<Outcome>),
    Stream(Outcome),
    Source(bool),
    Prepare(u8),
    Admit(bool),
    DeleteJob,
    Refuse(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let outcome =
        || prop_oneof![Just(Outcome::Succeeded), Just(Outcome::Failed), Just(Outcome::Retryable), Just(Outcome::Cancelled)];
    prop_oneof![
        4 => (0_i64..4000).prop_map(Event::Wait),
        4 => prop::option::of(outcome()).prop_map(Event::End),
        2 => outcome().prop_map(Event::Stream),
        2 => any::<bool>().prop_map(Event::Source),
        2 => (0_u8..3).prop_map(Event::Prepare),
        1 => any::<bool>().prop_map(Event::Admit),
        1 => Just(Event::DeleteJob),
        1 => any::<bool>().prop_map(Event::Refuse),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// I4 (asserted by the world), I5 and I10: whatever happens, a restore ends in time and once.
    #[test]
    fn every_history_ends_in_time_and_once(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::new();
        world.session.spec.restore_timeout = Some("2h".to_owned());
        for event in &events {
            match event {
                Event::Wait(seconds) => world.advance(*seconds),
                Event::End(outcome) => {
                    if let Some(attempt) = world.live() {
                        world.end(attempt, outcome.map(|outcome| ended(outcome, "because")));
                    }
                }
                Event::Stream(outcome) => {
                    if let Some(attempt) = world.live() {
                        world.reports.insert("dump".to_owned(), (attempt, ended(*outcome, "because")));
                    }
                }
                Event::Source(true) => world.source = Ok(vec!["dump".to_owned()]),
                Event::Source(false) => world.source = Err(Reason::new("validate", "SnapshotNotFound", "missing")),
                Event::Prepare(0) => world.preparation = World::ready(),
                Event::Prepare(1) => {
                    world.preparation = Preparation::Waiting(Reason::new("prepare", "TargetNotFound", "missing"));
                }
                Event::Prepare(_) => {
                    world.preparation = Preparation::Refused(Reason::new("prepare", "PathNotMounted", "wrong"));
                }
                Event::Admit(admit) => world.admitted = *admit,
                Event::DeleteJob => drop(world.jobs.pop()),
                Event::Refuse(refuse) => world.job_refusal = refuse.then(|| "quota".to_owned()),
            }
            world.settle();
        }
        world.advance(7200);
        world.settle();
        world.advance(50);
        world.settle();
        prop_assert_eq!(stage(&world.session), Stage::Complete);
        let first = world.phases.iter().position(|phase| phase.is_completed());
        if let Some(first) = first {
            let last = world.phases[first];
            prop_assert!(world.phases[first..].iter().all(|phase| *phase == last));
        }
    }
}
