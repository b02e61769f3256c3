//! Watching the Jobs and pods of all sessions: every change wakes its session, every end of a container is recorded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crd_types::labels;
use futures::{Stream, StreamExt as _, stream::select};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::{
    WatchStreamExt as _,
    watcher::{self, Event, watcher},
};
use kube_kit::identity::node_machine_id;
use kube_kit::owners::controller_of;
use parking_lot::Mutex;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::pod::{Ended, ended};
use super::records::{Record, RecordsError};
use crate::attach::SessionKind;
use crate::context::Context;

/// Pause before a record that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Pods of sessions that run now, by UID: namespace and name.
#[derive(Clone, Default)]
pub struct LivePods {
    pods: Arc<Mutex<HashMap<String, (String, String)>>>,
}

impl LivePods {
    /// Namespace and name of the pod, if it runs.
    pub fn find(&self, pod_uid: &str) -> Option<(String, String)> {
        self.pods.lock().get(pod_uid).cloned()
    }

    fn apply(&self, pod: &Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let mut pods = self.pods.lock();
        if phase == Some("Running") && ended(pod).is_none() {
            let place = (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default());
            pods.insert(uid, place);
        } else {
            pods.remove(&uid);
        }
    }

    fn remove(&self, pod: &Pod) {
        self.pods.lock().remove(pod.metadata.uid.as_deref().unwrap_or_default());
    }
}

/// The watch. It runs on the leader.
pub struct PodWatch {
    ctx: Context,
    /// Sessions by UID of their Jobs: a pod names its Job only.
    sessions: HashMap<String, (SessionKind, String, String)>,
    /// Ends that are not on record yet.
    pending: BTreeMap<String, Ended>,
}

enum Seen {
    Job(Event<PartialObjectMeta<Job>>),
    Pod(Event<Pod>),
}

impl PodWatch {
    /// A watch that has seen nothing yet.
    pub fn new(ctx: Context) -> Self {
        Self { ctx, sessions: HashMap::new(), pending: BTreeMap::new() }
    }

    /// Watches until cancelled.
    ///
    /// # Errors
    /// [`RecordsError`] when the record of earlier leaders cannot be read: no lock could be judged without it.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), RecordsError> {
        self.ctx.records.load().await?;
        let mut events = Box::pin(self.events());
        let mut again = interval(AGAIN);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.see(event).await,
                    None => return Ok(()),
                },
                _ = again.tick(), if !self.pending.is_empty() => self.record().await,
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    fn events(&self) -> impl Stream<Item = Seen> + use<> {
        let ours = || watcher::Config::default().labels(labels::SESSION_UID);
        let jobs: Api<PartialObjectMeta<Job>> = Api::all(self.ctx.client.clone());
        let pods: Api<Pod> = Api::all(self.ctx.client.clone());
        let jobs = watcher(jobs, ours()).default_backoff().filter_map(async |event| logged("Jobs", event).map(Seen::Job));
        let pods = watcher(pods, ours()).default_backoff().filter_map(async |event| logged("pods", event).map(Seen::Pod));
        select(Box::pin(jobs), Box::pin(pods))
    }

    async fn see(&mut self, event: Seen) {
        match event {
            Seen::Job(Event::Apply(job) | Event::InitApply(job)) => self.see_job(&job, false),
            Seen::Job(Event::Delete(job)) => self.see_job(&job, true),
            Seen::Pod(Event::Apply(pod) | Event::InitApply(pod)) => {
                self.ctx.live_pods.apply(&pod);
                self.see_pod(&pod).await;
            }
            // What a pod looked like last is in the event: its end may be seen only here.
            Seen::Pod(Event::Delete(pod)) => {
                self.ctx.live_pods.remove(&pod);
                self.see_pod(&pod).await;
            }
            Seen::Job(Event::Init | Event::InitDone) | Seen::Pod(Event::Init | Event::InitDone) => {}
        }
    }

    fn see_job(&mut self, job: &PartialObjectMeta<Job>, gone: bool) {
        let Some(session) = session_of_job(job) else { return };
        self.wake(&session);
        let Some(uid) = job.metadata.uid.clone() else { return };
        if gone {
            self.sessions.remove(&uid);
        } else {
            self.sessions.insert(uid, session);
        }
    }

    async fn see_pod(&mut self, pod: &Pod) {
        let of_job = controller_of(pod).and_then(|owner| self.sessions.get(&owner.uid)).cloned();
        if let Some(session) = of_job.or_else(|| session_of_labels(&pod.metadata)) {
            self.wake(&session);
        }
        if let Some(end) = ended(pod)
            && self.ctx.records.find(&end.pod_uid).is_none()
        {
            self.pending.insert(end.pod_uid.clone(), end);
            self.record().await;
        }
    }

    fn wake(&self, (kind, namespace, name): &(SessionKind, String, String)) {
        self.ctx.registry.wake(*kind, namespace, name);
    }

    /// Writes down what is pending. What cannot be written stays pending; a node that is gone can no longer say which
    /// machine it was, so its containers' ends prove nothing.
    async fn record(&mut self) {
        let now = self.ctx.now();
        self.pending.retain(|_, end| now.duration_since(end.at) < super::KEPT_FOR);
        let mut seen = BTreeMap::new();
        for (uid, end) in self.pending.clone() {
            match node_machine_id(&self.ctx.client, &end.node).await {
                Ok(Some(machine_id)) => {
                    seen.insert(uid, Record { at: end.at, machine_id, node: end.node });
                }
                Ok(None) => {
                    self.pending.remove(&uid);
                }
                Err(error) => tracing::warn!(node = end.node, %error, "machine id of a node cannot be read"),
            }
        }
        if seen.is_empty() {
            return;
        }
        match self.ctx.records.remember(&seen, now).await {
            Ok(()) => self.pending.retain(|uid, _| !seen.contains_key(uid)),
            Err(error) => tracing::warn!(%error, "ends of containers are not on record yet"),
        }
    }
}

fn session_of_job(job: &PartialObjectMeta<Job>) -> Option<(SessionKind, String, String)> {
    let owner = controller_of(job)?;
    let kind = SessionKind::of(&owner.kind)?;
    Some((kind, job.metadata.namespace.clone()?, owner.name.clone()))
}

/// What a pod's own labels say: enough unless the session's name is too long for a label.
fn session_of_labels(metadata: &ObjectMeta) -> Option<(SessionKind, String, String)> {
    let labels = metadata.labels.as_ref()?;
    let kind = SessionKind::of(labels.get(labels::SESSION_KIND)?)?;
    Some((kind, metadata.namespace.clone()?, labels.get(labels::INVOKER_NAME)?.clone()))
}

fn logged<K>(what: &'static str, event: Result<Event<K>, watcher::Error>) -> Option<Event<K>> {
    event.inspect_err(|error| tracing::warn!(what, %error, "watch was interrupted")).ok()
}
