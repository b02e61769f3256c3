//! What the session-controller counts, and the gauges about sessions that dashboards written for KubeStash read
//! (specification 5.1). Gauges are computed from the caches when they are asked for.

use crd_types::{BackupSession, BackupSessionPhase, Condition, RestorePhase, RestoreSession, duration};
use kube::ResourceExt as _;
use kube_kit::controller::Store;
use planner::build::Work;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use service_kit::metrics::{GaugeFamily, GaugeSnapshot, Sample};

/// Labels of a session that ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EndLabels {
    kind: &'static str,
    namespace: String,
    result: String,
}

/// Labels of an attempt that was made again.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AttemptLabels {
    reason: &'static str,
}

/// Labels of an answer about a lock.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct VerdictLabels {
    verdict: &'static str,
}

/// Labels of a mover that ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct MoverLabels {
    work: &'static str,
}

/// Bytes, from a mover with little to do to the limit of 1 GiB that the chart gives, and beyond.
const MEMORY_BUCKETS: [f64; 8] = [32e6, 64e6, 96e6, 128e6, 192e6, 256e6, 512e6, 1024e6];

/// Counters.
#[derive(Clone, Debug)]
pub struct SessionMetrics {
    ended: Family<EndLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    verdicts: Family<VerdictLabels, Counter>,
    snapshots_removed: Counter,
    peak_memory: Family<MoverLabels, Histogram, fn() -> Histogram>,
}

impl Default for SessionMetrics {
    fn default() -> Self {
        Self {
            ended: Family::default(),
            attempts: Family::default(),
            verdicts: Family::default(),
            snapshots_removed: Counter::default(),
            peak_memory: Family::new_with_constructor(|| Histogram::new(MEMORY_BUCKETS)),
        }
    }
}

impl SessionMetrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("sessions", "Sessions that ended", metrics.ended.clone());
        registry.register(
            "mover_restarts",
            "Movers started anew after an ending of the infrastructure",
            metrics.attempts.clone(),
        );
        registry.register("lock_verdicts", "Answers to movers about locks in their way", metrics.verdicts.clone());
        registry.register("snapshots_removed", "Snapshots removed by retention", metrics.snapshots_removed.clone());
        registry.register_with_unit(
            "mover_peak_memory",
            "Most memory that a mover took, by its own word at its end",
            Unit::Bytes,
            metrics.peak_memory.clone(),
        );
        metrics
    }

    /// A mover told the most memory that it took.
    pub fn mover_ended(&self, work: Work, peak_memory: u64) {
        #[allow(clippy::cast_precision_loss, reason = "a figure to look at")]
        self.peak_memory.get_or_create(&MoverLabels { work: work.as_str() }).observe(peak_memory as f64);
    }

    /// A session reached its final phase.
    pub fn session_ended(&self, kind: &'static str, namespace: &str, result: &str) {
        let labels = EndLabels { kind, namespace: namespace.to_owned(), result: result.to_owned() };
        self.ended.get_or_create(&labels).inc();
    }

    /// Another attempt was started, because of this.
    pub fn attempt_repeated(&self, reason: &'static str) {
        self.attempts.get_or_create(&AttemptLabels { reason }).inc();
    }

    /// A mover was told this about a lock.
    pub fn lock_judged(&self, verdict: &'static str) {
        self.verdicts.get_or_create(&VerdictLabels { verdict }).inc();
    }

    /// Retention removed Snapshots.
    pub fn snapshots_removed(&self, count: u64) {
        self.snapshots_removed.inc_by(count);
    }
}

const BACKUP_PHASES: [BackupSessionPhase; 5] = [
    BackupSessionPhase::Pending,
    BackupSessionPhase::Running,
    BackupSessionPhase::Succeeded,
    BackupSessionPhase::Failed,
    BackupSessionPhase::Skipped,
];
const RESTORE_PHASES: [RestorePhase; 6] = [
    RestorePhase::Pending,
    RestorePhase::Running,
    RestorePhase::Succeeded,
    RestorePhase::Failed,
    RestorePhase::Invalid,
    RestorePhase::Unknown,
];

/// Registers the gauges about sessions, read from the controllers' caches.
pub fn register_session_gauges(registry: &mut Registry, backups: Store<BackupSession>, restores: Store<RestoreSession>) {
    registry.register_collector(Box::new(GaugeSnapshot::new(move || backup_gauges(&backups))));
    registry.register_collector(Box::new(GaugeSnapshot::new(move || restore_gauges(&restores))));
}

fn backup_gauges(sessions: &Store<BackupSession>) -> Vec<GaugeFamily> {
    let mut created = family("core_kubestash_com_backupsession_created", "When the BackupSession was created, in Unix time");
    let mut info = family("core_kubestash_com_backupsession_info", "The BackupSession and its phase");
    let mut phases = family("core_kubestash_com_backupsession_phase", "1 for the phase that the BackupSession is in, else 0");
    let mut durations = family("core_kubestash_com_backupsession_duration_seconds", "How long the BackupSession took");
    let mut conditions = family("core_kubestash_com_backupsession_conditions", "Conditions of the BackupSession");
    for session in sessions.all() {
        let invoker = session.spec.invoker.clone().unwrap_or_default();
        let status = session.status.clone().unwrap_or_default();
        let phase = status.phase.unwrap_or(BackupSessionPhase::Pending);
        let common = vec![
            ("namespace", session.namespace().unwrap_or_default()),
            ("invoker_kind", "BackupSession".to_owned()),
            ("invoker_name", session.name_any()),
            ("backup_invoker_kind", invoker.kind),
            ("backup_invoker_name", invoker.name),
        ];
        created.samples.push((common.clone(), created_at(&*session)));
        let name = session.spec.session.clone().unwrap_or_default();
        info.samples.push((with(&common, [("session", name), ("phase", phase.to_string())]), 1.0));
        phases.samples.extend(one_hot(&common, BACKUP_PHASES.map(|each| (each.to_string(), each == phase))));
        durations.samples.extend(seconds(&common, status.duration.as_deref()));
        conditions.samples.extend(condition_samples(&common, &status.conditions));
    }
    vec![created, info, phases, durations, conditions]
}

fn restore_gauges(sessions: &Store<RestoreSession>) -> Vec<GaugeFamily> {
    let mut created = family("core_kubestash_com_restoresession_created", "When the RestoreSession was created, in Unix time");
    let mut info = family("core_kubestash_com_restoresession_info", "The RestoreSession and its phase");
    let mut phases = family("core_kubestash_com_restoresession_phase", "1 for the phase that the RestoreSession is in, else 0");
    let mut durations = family("core_kubestash_com_restoresession_duration_seconds", "How long the RestoreSession took");
    let mut components =
        family("core_kubestash_com_restoresession_component_count_total", "Components that the RestoreSession restores");
    let mut conditions = family("core_kubestash_com_restoresession_conditions", "Conditions of the RestoreSession");
    for session in sessions.all() {
        let target = session.spec.target.clone().unwrap_or_default();
        let source = session.spec.data_source.clone().unwrap_or_default();
        let status = session.status.clone().unwrap_or_default();
        let phase = status.phase.unwrap_or(RestorePhase::Pending);
        let namespace = session.namespace().unwrap_or_default();
        let common = vec![
            ("namespace", namespace.clone()),
            ("invoker_kind", "RestoreSession".to_owned()),
            ("invoker_name", session.name_any()),
            ("target_kind", target.kind.unwrap_or_default()),
            ("target_name", target.name),
            ("target_namespace", target.namespace.unwrap_or_else(|| namespace.clone())),
        ];
        created.samples.push((common.clone(), created_at(&*session)));
        let details = [
            ("datasource_namespace", source.namespace.unwrap_or(namespace)),
            ("repository", source.repository.unwrap_or_default()),
            ("snapshot", source.snapshot.unwrap_or_default()),
            ("addon_name", session.spec.addon.as_ref().and_then(|addon| addon.name.clone()).unwrap_or_default()),
            ("phase", phase.to_string()),
        ];
        info.samples.push((with(&common, details), 1.0));
        phases.samples.extend(one_hot(&common, RESTORE_PHASES.map(|each| (each.to_string(), each == phase))));
        durations.samples.extend(seconds(&common, status.duration.as_deref()));
        components.samples.extend(status.total_components.map(|count| (common.clone(), f64::from(count))));
        conditions.samples.extend(condition_samples(&common, &status.conditions));
    }
    vec![created, info, phases, durations, components, conditions]
}

type Labels = Vec<(&'static str, String)>;

fn family(name: &'static str, help: &'static str) -> GaugeFamily {
    GaugeFamily { name, help, samples: Vec::new() }
}

fn with<const N: usize>(common: &Labels, more: [(&'static str, String); N]) -> Labels {
    common.iter().cloned().chain(more).collect()
}

fn created_at(object: &impl kube::ResourceExt) -> f64 {
    object.creation_timestamp().map_or(0.0, |time| time.0.as_duration().as_secs_f64())
}

fn seconds(common: &Labels, text: Option<&str>) -> Option<Sample> {
    let length = duration::parse(text?).ok()?;
    Some((common.clone(), length.as_secs_f64()))
}

fn one_hot<const N: usize>(common: &Labels, phases: [(String, bool); N]) -> Vec<Sample> {
    phases.into_iter().map(|(phase, holds)| (with(common, [("phase", phase)]), f64::from(u8::from(holds)))).collect()
}

fn condition_samples(common: &Labels, conditions: &[Condition]) -> Vec<Sample> {
    let sample = |condition: &Condition| {
        let labels = [("condition", condition.type_.clone()), ("status", condition.status.to_string())];
        (with(common, labels), 1.0)
    };
    conditions.iter().map(sample).collect()
}
