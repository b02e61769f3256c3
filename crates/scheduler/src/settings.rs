//! The arguments as the controllers use them.

use jiff::{SignedDuration, tz::TimeZone};
use planner::{
    access::SecretRule,
    build::PodManners,
    schedule::{ScheduleError, parse_time_zone},
};
use service_kit::environment;

use crate::args::TriggerArgs;

/// Port of every service's gRPC.
const GRPC_PORT: u16 = 9443;

/// Everything that an administrator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Image of trigger pods.
    pub image: String,
    /// What all pods of ours have in common.
    pub manners: PodManners,
    /// ServiceAccount of trigger pods.
    pub service_account: String,
    /// Whether each configuration's trigger pods get a NetworkPolicy that lets them out.
    pub network_policy: bool,
    /// Host and port at which trigger pods find the scheduler.
    pub address: String,
    /// Name on the scheduler's certificate.
    pub server_name: String,
    /// Name of the time zone in which schedules are read.
    pub time_zone: String,
    /// That time zone.
    pub zone: TimeZone,
    /// Time a trigger pod has to come.
    pub grace: SignedDuration,
    /// Whether Secrets of other namespaces may be used.
    pub cross_namespace_secrets: SecretRule,
}

impl Settings {
    /// Reads the arguments, and what pods inherit from this process's environment.
    ///
    /// # Errors
    /// [`ScheduleError::Zone`] for a time zone that does not exist.
    pub fn new(namespace: &str, trigger: &TriggerArgs, cross_namespace_secrets: SecretRule) -> Result<Self, ScheduleError> {
        let server_name = format!("orlop-scheduler.{namespace}.svc");
        Ok(Self {
            image: trigger.mover_image.clone(),
            manners: PodManners {
                image_pull_secrets: trigger.mover_image_pull_secrets.iter().filter(|name| !name.is_empty()).cloned().collect(),
                image_pull_policy: Some(trigger.mover_image_pull_policy.clone()),
                no_proxy_hosts: vec![format!("{namespace}.svc"), format!("{namespace}.svc.cluster.local")],
                ..PodManners::inherited(environment::variables())
            },
            service_account: trigger.trigger_service_account.clone(),
            network_policy: trigger.mover_network_policy,
            address: format!("{server_name}:{GRPC_PORT}"),
            server_name,
            zone: parse_time_zone(&trigger.time_zone)?,
            time_zone: trigger.time_zone.clone(),
            grace: SignedDuration::from_secs(i64::from(trigger.trigger_grace_seconds)),
            cross_namespace_secrets,
        })
    }
}
