//! Fragments of command lines, to be flattened into a process's own arguments.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use clap::{Args, ValueEnum};

const GRPC_PORT: u16 = 9443;
const HTTP_PORT: u16 = 8080;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for collectors.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Logging.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// What to log, in the syntax of tracing's EnvFilter: `info`, `debug`, `info,kube=debug`.
    #[arg(long, env = "ORLOP_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// How to write log lines.
    #[arg(long, env = "ORLOP_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// What every service knows of itself.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// Namespace that Orlop is installed in.
    #[arg(long, env = "ORLOP_NAMESPACE")]
    pub namespace: String,
    /// Name of this pod; identifies the replica in leader election.
    #[arg(long, env = "ORLOP_POD_NAME")]
    pub pod_name: String,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where a service listens.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Address for gRPC over TLS.
    #[arg(long, env = "ORLOP_GRPC_LISTEN", default_value_t = any_address(GRPC_PORT))]
    pub grpc_listen: SocketAddr,
    /// Address for /healthz, /readyz and /metrics.
    #[arg(long, env = "ORLOP_HTTP_LISTEN", default_value_t = any_address(HTTP_PORT))]
    pub http_listen: SocketAddr,
    /// Whether to serve gRPC reflection.
    #[arg(long, env = "ORLOP_GRPC_REFLECTION", default_value_t = false, action = clap::ArgAction::Set)]
    pub grpc_reflection: bool,
}

/// Timing of leader election. The renew deadline is shorter than the lease, the retry period shorter than the deadline.
#[derive(Args, Clone, Debug)]
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

/// All addresses of both families.
const fn any_address(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        common: CommonArgs,
        #[command(flatten)]
        server: ServerArgs,
    }

    #[test]
    fn defaults_bind_both_address_families() {
        let args = Whole::try_parse_from(["x", "--namespace", "orlop-system", "--pod-name", "pod-0"]).unwrap();
        assert_eq!(args.server.grpc_listen.to_string(), "[::]:9443");
        assert_eq!(args.server.http_listen.to_string(), "[::]:8080");
        assert_eq!(args.common.namespace, "orlop-system");
        assert_eq!(args.common.log.log_format, LogFormat::Json);
    }
}
