//! Every knob of the session-controller, from flags or environment.

use std::time::Duration;

use clap::Args as ClapArgs;
use clap::Parser;
use jiff::SignedDuration;
use planner::retention::PeriodError;
use planner::session::parse_period;
use service_kit::args::{CommonArgs, ServerArgs};

/// The session-controller: Jobs, hooks, retention, history and status of every session.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What every service knows of itself.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Where it listens.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Leader election.
    #[command(flatten)]
    pub leader: LeaderArgs,
    /// Movers.
    #[command(flatten)]
    pub mover: MoverArgs,
    /// How many sessions run at once.
    #[command(flatten)]
    pub admission: AdmissionArgs,
}

/// Timing of leader election. The renew deadline is shorter than the lease, the retry period shorter than the deadline.
#[derive(ClapArgs, Clone, Debug)]
pub struct LeaderArgs {
    /// Seconds for which a lease holds without renewal.
    #[arg(long, env = "ORLOP_LEASE_DURATION_SECONDS", default_value_t = 15)]
    pub lease_duration_seconds: u64,
    /// Seconds after which a leader that could not renew steps down.
    #[arg(long, env = "ORLOP_LEASE_RENEW_DEADLINE_SECONDS", default_value_t = 10)]
    pub lease_renew_deadline_seconds: u64,
    /// Seconds between attempts to take or renew the lease.
    #[arg(long, env = "ORLOP_LEASE_RETRY_PERIOD_SECONDS", default_value_t = 2)]
    pub lease_retry_period_seconds: u64,
}

/// What the Jobs' pods are made of and how they are told.
#[derive(ClapArgs, Clone, Debug)]
pub struct MoverArgs {
    /// Image of the data-mover, for Functions that name none and for retention Jobs.
    #[arg(long, env = "ORLOP_MOVER_IMAGE")]
    pub mover_image: String,
    /// Pull policy of that image.
    #[arg(long, env = "ORLOP_MOVER_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub mover_image_pull_policy: String,
    /// Names of pull secrets, comma-separated; they must exist in the namespaces of the sessions.
    #[arg(long, env = "ORLOP_MOVER_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub mover_image_pull_secrets: Vec<String>,
    /// Resource requests of a mover, as `cpu=100m,memory=128Mi`.
    #[arg(long, env = "ORLOP_MOVER_REQUESTS", default_value = "cpu=100m,memory=128Mi", value_delimiter = ',')]
    pub mover_requests: Vec<String>,
    /// Resource limits of a mover, as `memory=1Gi`.
    #[arg(long, env = "ORLOP_MOVER_LIMITS", default_value = "memory=1Gi", value_delimiter = ',')]
    pub mover_limits: Vec<String>,
    /// Make a NetworkPolicy for each session that lets its movers reach the control plane, DNS and the store.
    #[arg(long, env = "ORLOP_MOVER_NETWORK_POLICY", action = clap::ArgAction::Set, default_value_t = false)]
    pub mover_network_policy: bool,
    /// Time in which the checks after backups read all stored data back once, such as `30d`; `off` for never. A
    /// BackupConfiguration's annotation `orlop.dev/data-check-period` goes before it.
    #[arg(long, env = "ORLOP_DATA_CHECK_PERIOD", default_value = "30d", value_parser = data_check_period)]
    pub data_check_period: DataCheckPeriod,
    /// Seconds between two writes of a mover's progress to its Snapshot.
    #[arg(long, env = "ORLOP_PROGRESS_INTERVAL_SECONDS", default_value_t = 10)]
    pub progress_interval_seconds: u64,
}

impl MoverArgs {
    /// Time between two writes of progress.
    pub fn progress_interval(&self) -> Duration {
        Duration::from_secs(self.progress_interval_seconds.max(1))
    }
}

/// A period, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataCheckPeriod(pub Option<SignedDuration>);

fn data_check_period(written: &str) -> Result<DataCheckPeriod, PeriodError> {
    parse_period(written).map(DataCheckPeriod)
}

/// Limits of admission; 0 means none.
#[derive(ClapArgs, Clone, Debug)]
pub struct AdmissionArgs {
    /// Sessions that run at once in the cluster.
    #[arg(long, env = "ORLOP_MAX_SESSIONS", default_value_t = 0)]
    pub max_sessions: u32,
    /// Sessions that run at once against one BackupStorage.
    #[arg(long, env = "ORLOP_MAX_SESSIONS_PER_STORAGE", default_value_t = 0)]
    pub max_sessions_per_storage: u32,
    /// Sessions that run at once on one node.
    #[arg(long, env = "ORLOP_MAX_SESSIONS_PER_NODE", default_value_t = 0)]
    pub max_sessions_per_node: u32,
}
