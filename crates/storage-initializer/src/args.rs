//! The command line.

use clap::{Parser, ValueEnum};
use planner::access::SecretRule;
use service_kit::args::{CommonArgs, LeaderArgs, ServerArgs};

/// Whether the long-lived key of a storage may be handed to movers of other namespaces that its usage policy admits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum SharedStorageKeys {
    /// It may; Repositories say so in condition `orlop.dev/CredentialsShared`.
    #[default]
    Allow,
    /// It may not: only sessions in the storage's own namespace are served.
    Deny,
}

/// Prepares buckets and repositories and hands out access to them.
#[derive(Clone, Debug, Parser)]
#[command(name = "storage-initializer", version)]
pub struct Args {
    /// What every service is told.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Where to listen.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Leader election.
    #[command(flatten)]
    pub leader: LeaderArgs,
    /// Whether keys of storages are shared with namespaces that their usage policies admit.
    #[arg(long, env = "ORLOP_SHARED_STORAGE_KEYS", value_enum, default_value_t)]
    pub shared_storage_keys: SharedStorageKeys,
    /// Whether Secrets of other namespaces may be used: `consent` (of their owner), `allow` or `deny`.
    #[arg(long, env = "ORLOP_CROSS_NAMESPACE_SECRETS", default_value = "consent", value_parser = parse_secret_rule)]
    pub cross_namespace_secrets: SecretRule,
}

fn parse_secret_rule(text: &str) -> Result<SecretRule, String> {
    text.parse()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_defaults_share_keys_and_ask_for_consent() {
        let args = ["storage-initializer", "--namespace", "orlop-system", "--pod-name", "pod-0"];
        let args = Args::try_parse_from(args).unwrap();
        assert_eq!(args.shared_storage_keys, SharedStorageKeys::Allow);
        assert_eq!(args.cross_namespace_secrets, SecretRule::Consent);
        let wrong = ["x", "--namespace", "n", "--pod-name", "p", "--cross-namespace-secrets", "perhaps"];
        assert!(Args::try_parse_from(wrong).is_err());
    }
}
