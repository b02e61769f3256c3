//! What the scheduler counts, and the gauges about BackupConfigurations that dashboards written for KubeStash read
//! (specification §5.1). Gauges are computed from the cache when they are asked for, so only the leader has them.

use std::sync::Arc;

use crd_types::{BackupConfiguration, BackupConfigurationPhase};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use kube::ResourceExt as _;
use kube_kit::controller::Store;
use planner::schedule::CronSchedule;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use service_kit::metrics::{GaugeFamily, GaugeSnapshot, Metrics};

use crate::references::{namespace, session_name, workload};

/// From a trigger pod that starts at once to a watchdog behind a slow API server.
const DELAYS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 35.0, 60.0, 120.0, 600.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CauseLabels {
    triggered_by: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ScheduleLabels {
    namespace: String,
    invoker_kind: &'static str,
    invoker: String,
    session: String,
}

/// Counters.
#[derive(Clone, Debug)]
pub struct ScheduleMetrics {
    created: Family<CauseLabels, Counter>,
    missed: Family<ScheduleLabels, Counter>,
    delays: Histogram,
}

impl ScheduleMetrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { created: Family::default(), missed: Family::default(), delays: Histogram::new(DELAYS) };
        registry.register("sessions_created", "BackupSessions created, by what made them", metrics.created.clone());
        registry.register("schedule_missed", "Slots that passed without a session", metrics.missed.clone());
        registry.register(
            "schedule_delay_seconds",
            "Time from a slot to the creation of its BackupSession",
            metrics.delays.clone(),
        );
        metrics
    }

    /// A BackupSession was created.
    pub fn session_created(&self, triggered_by: &'static str) {
        self.created.get_or_create(&CauseLabels { triggered_by }).inc();
    }

    /// A slot got its session this late.
    pub fn slot_served(&self, delay: SignedDuration) {
        self.delays.observe(delay.as_secs_f64().max(0.0));
    }

    /// A slot passed without a session.
    pub fn slot_missed(&self, configuration: &BackupConfiguration, session: &str) {
        let labels = ScheduleLabels {
            namespace: namespace(configuration),
            invoker_kind: "BackupConfiguration",
            invoker: configuration.name_any(),
            session: session.to_owned(),
        };
        self.missed.get_or_create(&labels).inc();
    }
}

/// The clock that gauges are computed by.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Registers the gauges about BackupConfigurations.
pub fn register_gauges(metrics: &mut Metrics, store: Store<BackupConfiguration>, zone: TimeZone, clock: Clock) {
    let configurations = store.clone();
    let gauges = GaugeSnapshot::new(move || kubestash_gauges(&configurations));
    metrics.kubestash_registry().register_collector(Box::new(gauges));
    metrics.registry().register_collector(Box::new(GaugeSnapshot::new(move || schedule_gauges(&store, &zone, clock()))));
}

fn kubestash_gauges(configurations: &Store<BackupConfiguration>) -> Vec<GaugeFamily> {
    let name = |metric| GaugeFamily { name: metric, help: "", samples: Vec::new() };
    let mut created = GaugeFamily {
        help: "When the BackupConfiguration was created, in Unix time",
        ..name("core_kubestash_com_backupconfiguration_created")
    };
    let mut info = GaugeFamily { help: "The BackupConfiguration", ..name("core_kubestash_com_backupconfiguration_info") };
    let mut sessions = GaugeFamily { help: "Its sessions", ..name("core_kubestash_com_backupconfiguration_sessions") };
    let mut phases =
        GaugeFamily { help: "1 for the phase it is in, else 0", ..name("core_kubestash_com_backupconfiguration_phase") };
    let mut conditions = GaugeFamily { help: "Its conditions", ..name("core_kubestash_com_backupconfiguration_conditions") };
    for configuration in configurations.all() {
        let common = common_labels(&configuration);
        let with = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            common.iter().cloned().chain(more.iter().map(|(label, value)| (*label, (*value).to_owned()))).collect()
        };
        let birth = configuration.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        created.samples.push((with(&[]), to_f64(birth)));
        info.samples.push((with(&[]), 1.0));
        for session in &configuration.spec.sessions {
            let schedule = session.scheduler.as_ref().map(|scheduler| scheduler.schedule.as_str()).unwrap_or_default();
            let addon = session.addon.as_ref().and_then(|addon| addon.name.as_deref()).unwrap_or_default();
            let labels = with(&[("session_name", session_name(session)), ("schedule", schedule), ("addon_name", addon)]);
            sessions.samples.push((labels, 1.0));
        }
        let Some(status) = &configuration.status else { continue };
        for phase in BackupConfigurationPhase::ALL {
            let is = if status.phase == Some(*phase) { 1.0 } else { 0.0 };
            phases.samples.push((with(&[("phase", phase.as_str())]), is));
        }
        for condition in &status.conditions {
            let labels = with(&[("condition", &condition.type_), ("status", condition.status.as_str())]);
            conditions.samples.push((labels, 1.0));
        }
    }
    vec![created, info, sessions, phases, conditions]
}

fn common_labels(configuration: &BackupConfiguration) -> Vec<(&'static str, String)> {
    let here = namespace(configuration);
    let (kind, target_namespace, name) =
        configuration.spec.target.as_ref().map(|target| workload(target, &here)).unwrap_or_default();
    vec![
        ("namespace", here),
        ("backup_invoker_kind", "BackupConfiguration".to_owned()),
        ("backup_invoker_name", configuration.name_any()),
        ("target_kind", kind),
        ("target_name", name),
        ("target_namespace", target_namespace),
    ]
}

fn schedule_gauges(configurations: &Store<BackupConfiguration>, zone: &TimeZone, now: Timestamp) -> Vec<GaugeFamily> {
    let mut next = GaugeFamily {
        name: "next_schedule_timestamp_seconds",
        help: "The next slot of a session that is not suspended, in Unix time",
        samples: Vec::new(),
    };
    let mut interval = GaugeFamily {
        name: "expected_interval_seconds",
        help: "Time between the next two slots of a session that is not suspended",
        samples: Vec::new(),
    };
    for configuration in configurations.all().iter().filter(|configuration| configuration.spec.paused != Some(true)) {
        for session in &configuration.spec.sessions {
            let Some(scheduler) = session.scheduler.as_ref().filter(|scheduler| scheduler.suspend != Some(true)) else {
                continue;
            };
            let Ok(schedule) = CronSchedule::parse(&scheduler.schedule) else { continue };
            let slots = schedule.upcoming(now, zone, 2);
            let labels = || -> Vec<(&'static str, String)> {
                vec![
                    ("namespace", namespace(configuration.as_ref())),
                    ("invoker_kind", "BackupConfiguration".to_owned()),
                    ("invoker", configuration.name_any()),
                    ("session", session_name(session).to_owned()),
                ]
            };
            if let Some(first) = slots.first() {
                next.samples.push((labels(), to_f64(first.as_second())));
            }
            if let [first, second] = slots.as_slice() {
                interval.samples.push((labels(), to_f64(second.as_second() - first.as_second())));
            }
        }
    }
    vec![next, interval]
}

/// Seconds of any date fit a float exactly.
#[expect(clippy::cast_precision_loss, reason = "Unix time stays far below 2^53")]
fn to_f64(seconds: i64) -> f64 {
    seconds as f64
}
