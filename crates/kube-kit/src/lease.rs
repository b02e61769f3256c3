//! Leader election on a `coordination.k8s.io/v1` Lease.
//!
//! Own, because every published crate was found to keep believing in a leadership it had lost, or to clear a lease that
//! another replica had just taken (dependencies.md §7). The rules here:
//!
//! * every write carries the resourceVersion that was read, so that of two candidates one wins;
//! * whether somebody else's lease has run out is judged by how long *we* saw it unchanged, never by comparing clocks;
//! * leadership is lost by our monotonic clock when the renew deadline passes, whatever the network says. The caller then
//!   ends the process.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::error::{is_already_exists, is_conflict, is_not_found, within};

/// Which Lease, as whom, and how patiently.
#[derive(Debug, Clone)]
pub struct LeaseConfig {
    /// Namespace of the Lease: Orlop's own.
    pub namespace: String,
    /// Name of the Lease, for example `orlop-scheduler`.
    pub name: String,
    /// Who we are: unique among live processes. The pod's name will do, because one container runs in it at a time.
    pub identity: String,
    /// How long others wait, after they saw the last renewal, before they take over.
    pub duration: Duration,
    /// How long we lead without a successful renewal. Shorter than `duration`, so that we stop before others start.
    pub renew_deadline: Duration,
    /// Pause between attempts.
    pub retry_period: Duration,
}

impl LeaseConfig {
    /// The customary patience: 15 s, 10 s and 2 s.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    /// Longest single API call: two fit into the renew deadline.
    fn call_timeout(&self) -> Duration {
        self.renew_deadline / 2
    }
}

/// Whether this process leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// Somebody else leads, or nobody yet.
    Waiting,
    /// This process leads.
    Leading {
        /// Grows with every change of leader: the fencing number of whatever this leader starts.
        epoch: i64,
    },
    /// It led and does not any more. Final.
    Lost,
}

/// Why the elector ended.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// This process led and cannot be sure of it any more; it has to end.
    #[error("leadership of lease {namespace}/{name} was lost: {cause}")]
    Lost {
        /// Namespace of the Lease.
        namespace: String,
        /// Name of the Lease.
        name: String,
        /// What happened.
        cause: String,
    },
}

/// Waits until this process leads. `None` when it never will: the elector ended.
pub async fn wait_until_leading(leadership: &mut watch::Receiver<Leadership>) -> Option<i64> {
    let state = leadership.wait_for(|state| *state != Leadership::Waiting).await.ok()?;
    match *state {
        Leadership::Leading { epoch } => Some(epoch),
        Leadership::Waiting | Leadership::Lost => None,
    }
}

/// Competes for one Lease.
pub struct Elector {
    api: Api<Lease>,
    config: LeaseConfig,
    state: watch::Sender<Leadership>,
}

/// Another holder's lease as we saw it, and since when it has not changed.
struct Observed {
    version: Option<String>,
    since: Instant,
}

/// Our own hold.
struct Held {
    version: Option<String>,
    epoch: i32,
    /// Taken before the renewal was sent, so the time the answer travelled counts against us.
    renewed: Instant,
}

impl Elector {
    /// An elector that has not started yet.
    #[must_use]
    pub fn new(client: Client, config: LeaseConfig) -> Self {
        let api = Api::namespaced(client, &config.namespace);
        Self { api, config, state: watch::Sender::new(Leadership::Waiting) }
    }

    /// Follows the state of this process.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.state.subscribe()
    }

    /// Competes, leads, and on cancellation hands the Lease back at once. Cancel it only after the work that needs
    /// leadership has stopped.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when leadership was lost; the process must end.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), LeaseError> {
        let mut held = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            held = self.compete() => held,
        };
        tracing::info!(lease = self.config.name, epoch = held.epoch, "leading");
        self.state.send_replace(Leadership::Leading { epoch: i64::from(held.epoch) });
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            cause = self.hold(&mut held) => Err(cause),
        };
        match ended {
            Ok(()) => {
                self.release(&held).await;
                Ok(())
            }
            Err(cause) => {
                self.state.send_replace(Leadership::Lost);
                let LeaseConfig { namespace, name, .. } = self.config;
                Err(LeaseError::Lost { namespace, name, cause })
            }
        }
    }

    /// Tries until the Lease is ours.
    async fn compete(&self) -> Held {
        let mut observed = None;
        loop {
            match within("the lease", self.config.call_timeout(), self.try_take(&mut observed)).await {
                Ok(Ok(Some(held))) => return held,
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(%error, lease = self.config.name, "cannot compete for the lease"),
                Err(error) => tracing::warn!(%error, lease = self.config.name, "cannot compete for the lease"),
            }
            sleep(self.config.retry_period).await;
        }
    }

    async fn try_take(&self, observed: &mut Option<Observed>) -> Result<Option<Held>, kube::Error> {
        let before = Instant::now();
        let Some(lease) = self.api.get_opt(&self.config.name).await? else {
            return self.create(before, 1).await;
        };
        let version = lease.metadata.resource_version.clone();
        let spec = lease.spec.unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if !holder.is_empty() && holder != self.config.identity {
            let now = Instant::now();
            match observed {
                Some(known) if known.version == version => {
                    let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
                    if now.duration_since(known.since) <= Duration::from_secs(seconds) {
                        return Ok(None);
                    }
                }
                _ => {
                    *observed = Some(Observed { version, since: now });
                    return Ok(None);
                }
            }
        }
        let epoch = spec.lease_transitions.unwrap_or(0).saturating_add(1);
        let acquired = MicroTime(Timestamp::now());
        match self.write(version.as_deref(), &self.spec(epoch, Some(acquired))).await {
            Ok(written) => Ok(Some(Held { version: written.metadata.resource_version, epoch, renewed: before })),
            Err(refusal) if is_conflict(&refusal) || is_not_found(&refusal) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn create(&self, before: Instant, epoch: i32) -> Result<Option<Held>, kube::Error> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.spec(epoch, Some(MicroTime(Timestamp::now())))),
        };
        match self.api.create(&PostParams::default(), &lease).await {
            Ok(made) => Ok(Some(Held { version: made.metadata.resource_version, epoch, renewed: before })),
            Err(refusal) if is_already_exists(&refusal) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Renews until that fails for too long; answers why.
    async fn hold(&self, held: &mut Held) -> String {
        loop {
            let deadline = held.renewed + self.config.renew_deadline;
            // The deadline is looked at first: after a long pause of the process it has passed, whatever else is ready.
            tokio::select! {
                biased;
                () = sleep_until(deadline) => return self.deadline_passed(),
                () = sleep(self.config.retry_period) => {}
            }
            let answer = tokio::select! {
                biased;
                () = sleep_until(deadline) => return self.deadline_passed(),
                answer = within("the lease", self.config.call_timeout(), self.try_renew(held)) => answer,
            };
            match answer {
                Ok(Ok(Renewal::Renewed(renewed))) => *held = renewed,
                Ok(Ok(Renewal::TakenBy(holder))) => return format!("{holder} holds it"),
                Ok(Err(error)) => tracing::warn!(%error, lease = self.config.name, "cannot renew the lease"),
                Err(error) => tracing::warn!(%error, lease = self.config.name, "cannot renew the lease"),
            }
        }
    }

    fn deadline_passed(&self) -> String {
        format!("not renewed for {} s", self.config.renew_deadline.as_secs())
    }

    async fn try_renew(&self, held: &Held) -> Result<Renewal, kube::Error> {
        let before = Instant::now();
        let spec = self.spec(held.epoch, None);
        match self.write(held.version.as_deref(), &spec).await {
            Ok(written) => return Ok(self.renewed(written, held, before)),
            Err(refusal) if is_conflict(&refusal) => {}
            Err(refusal) if is_not_found(&refusal) => {
                // Somebody deleted the Lease. Whoever creates it first leads.
                if let Some(again) = self.create(before, held.epoch).await? {
                    return Ok(Renewal::Renewed(again));
                }
            }
            Err(refusal) => return Err(refusal),
        }
        // The version moved: a renewal of ours whose answer was lost, an annotation, or another holder.
        let lease = self.api.get(&self.config.name).await?;
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
        if holder != self.config.identity || transitions != held.epoch {
            return Ok(Renewal::TakenBy(if holder.is_empty() { "nobody".to_owned() } else { holder }));
        }
        let written = self.write(lease.metadata.resource_version.as_deref(), &spec).await?;
        Ok(self.renewed(written, held, before))
    }

    fn renewed(&self, written: Lease, held: &Held, before: Instant) -> Renewal {
        Renewal::Renewed(Held { version: written.metadata.resource_version, epoch: held.epoch, renewed: before })
    }

    /// Lets others take over at once. Best effort: if it fails they wait for the lease to run out.
    async fn release(&self, held: &Held) {
        let spec =
            LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..self.spec(held.epoch, None) };
        match within("the lease", self.config.call_timeout(), self.write(held.version.as_deref(), &spec)).await {
            Ok(Ok(_)) => tracing::info!(lease = self.config.name, "lease released"),
            Ok(Err(error)) => tracing::warn!(%error, lease = self.config.name, "lease was not released"),
            Err(error) => tracing::warn!(%error, lease = self.config.name, "lease was not released"),
        }
    }

    fn spec(&self, epoch: i32, acquired: Option<MicroTime>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.config.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.config.duration.as_secs()).unwrap_or(i32::MAX)),
            lease_transitions: Some(epoch),
            acquire_time: acquired,
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }
    }

    async fn write(&self, version: Option<&str>, spec: &LeaseSpec) -> Result<Lease, kube::Error> {
        let patch = json!({ "metadata": { "resourceVersion": version }, "spec": spec });
        self.api.patch(&self.config.name, &PatchParams::default(), &Patch::Merge(&patch)).await
    }
}

enum Renewal {
    Renewed(Held),
    TakenBy(String),
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
