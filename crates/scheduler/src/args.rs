//! Every knob of the scheduler, from flags or environment.

use clap::{Args as ClapArgs, Parser};
use planner::access::SecretRule;
use service_kit::args::{CommonArgs, LeaderArgs, ServerArgs};

/// The scheduler: CronJobs, Repositories and BackupSessions of every BackupConfiguration.
#[derive(Clone, Debug, Parser)]
#[command(name = "scheduler", version)]
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
    /// Trigger pods.
    #[command(flatten)]
    pub trigger: TriggerArgs,
    /// Whether Secrets of other namespaces may be used: `consent` (of their owner), `allow` or `deny`.
    #[arg(long, env = "ORLOP_CROSS_NAMESPACE_SECRETS", default_value = "consent", value_parser = parse_secret_rule)]
    pub cross_namespace_secrets: SecretRule,
}

/// What trigger pods are made of, and how slots are read.
#[derive(ClapArgs, Clone, Debug)]
pub struct TriggerArgs {
    /// Image of the data-mover, which is the trigger too.
    #[arg(long, env = "ORLOP_MOVER_IMAGE")]
    pub mover_image: String,
    /// Pull policy of that image.
    #[arg(long, env = "ORLOP_MOVER_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub mover_image_pull_policy: String,
    /// Names of pull secrets, comma-separated; they must exist in the namespaces of the configurations.
    #[arg(long, env = "ORLOP_MOVER_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub mover_image_pull_secrets: Vec<String>,
    /// ServiceAccount of trigger pods. They need no permission and get no token for the API server.
    #[arg(long, env = "ORLOP_TRIGGER_SERVICE_ACCOUNT", default_value = "default")]
    pub trigger_service_account: String,
    /// Make a NetworkPolicy for each configuration that lets its trigger pods reach the scheduler.
    #[arg(long, env = "ORLOP_MOVER_NETWORK_POLICY", default_value_t = false, action = clap::ArgAction::Set)]
    pub mover_network_policy: bool,
    /// IANA time zone in which schedules are read.
    #[arg(long, env = "ORLOP_TIME_ZONE", default_value = "Etc/UTC")]
    pub time_zone: String,
    /// Seconds that a trigger pod has before its slot is served without it.
    #[arg(long, env = "ORLOP_TRIGGER_GRACE_SECONDS", default_value_t = 30)]
    pub trigger_grace_seconds: u32,
}

fn parse_secret_rule(text: &str) -> Result<SecretRule, String> {
    text.parse()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_ask_for_consent_and_read_schedules_in_utc() {
        let args = ["scheduler", "--namespace", "orlop-system", "--pod-name", "pod-0", "--mover-image", "mover:1"];
        let args = Args::try_parse_from(args).unwrap();
        assert_eq!(args.cross_namespace_secrets, SecretRule::Consent);
        assert_eq!(args.trigger.time_zone, "Etc/UTC");
        assert_eq!(args.trigger.trigger_grace_seconds, 30);
    }
}
