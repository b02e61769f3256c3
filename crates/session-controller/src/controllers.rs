//! The controllers, which run on the leader only.

use std::sync::Arc;

use crd_types::{BackupSession, RestoreSession, Snapshot};
use kube::{Api, ResourceExt as _, runtime::watcher};
use kube_kit::controller::{ControllerMetrics, Options, Runner, RunnerError, Store};
use kube_kit::lease::{Leadership, wait_until_leading};
use kube_kit::own_writes::OwnWrites;
use prometheus_client::registry::Registry;
use service_kit::readiness::Readiness;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::attach::SessionKind;
use crate::backup_session::{self, BackupSessions};
use crate::context::Context;
use crate::metrics::register_session_gauges;
use crate::pods::{PodWatch, RecordsError};
use crate::restore_session::RestoreSessions;

/// Why the controllers ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ControllersError {
    /// One of them ended.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The watch of movers' pods ended.
    #[error(transparent)]
    Pods(#[from] RecordsError),
}

/// All controllers of this process.
pub struct Controllers {
    ctx: Context,
    backups: Runner<BackupSession>,
    restores: Runner<RestoreSession>,
    restore_writes: OwnWrites,
}

impl Controllers {
    /// Puts the controllers together; gauges about sessions are read from their caches.
    pub fn new(ctx: &Context, metrics: ControllerMetrics, gauges: &mut Registry) -> Self {
        let backups = backups(ctx, metrics.clone());
        let restore_writes = OwnWrites::default();
        let restores = restores(ctx, metrics, restore_writes.clone());
        register_session_gauges(gauges, backups.store(), restores.store());
        Self { ctx: ctx.clone(), backups, restores, restore_writes }
    }

    /// Waits for leadership, then runs everything until `shutdown`.
    ///
    /// # Errors
    /// [`ControllersError`] when a part ended although nobody asked.
    pub async fn run(
        self,
        mut leadership: watch::Receiver<Leadership>,
        readiness: Readiness,
        shutdown: CancellationToken,
    ) -> Result<(), ControllersError> {
        let Self { ctx, backups, restores, restore_writes } = self;
        let epoch = tokio::select! {
            epoch = wait_until_leading(&mut leadership) => epoch,
            () = shutdown.cancelled() => None,
        };
        let Some(epoch) = epoch else { return Ok(()) };
        tracing::info!(epoch, "leading: controllers start");
        // Only a leader has watches to wait for; a follower is ready without them.
        let backups = backups.gate(readiness.gate("watch BackupSession"));
        let restores = restores.gate(readiness.gate("watch RestoreSession"));
        ctx.registry.on_session(SessionKind::Backup, backups.trigger());
        ctx.registry.on_session(SessionKind::Restore, restores.trigger());
        ctx.registry.open();
        let pods = PodWatch::new(ctx.clone()).run(shutdown.clone());
        let backups = backups.run(Arc::new(BackupSessions::new(ctx.clone())), shutdown.clone());
        let restores = restores.run(Arc::new(RestoreSessions::new(ctx.clone(), restore_writes)), shutdown.clone());
        tokio::try_join!(
            async { pods.await.map_err(ControllersError::from) },
            async { backups.await.map_err(ControllersError::from) },
            async { restores.await.map_err(ControllersError::from) },
        )?;
        Ok(())
    }
}

/// Looked at when they change, when their Snapshots do, and when a restore that held them ends.
fn backups(ctx: &Context, metrics: ControllerMetrics) -> Runner<BackupSession> {
    let client = &ctx.client;
    let name = backup_session::CONTROLLER_NAME;
    let runner = Runner::new(name, Api::all(client.clone()), Options::default(), metrics, OwnWrites::default());
    let store = runner.store();
    runner
        .watches(Api::all(client.clone()), watcher::Config::default(), |snapshot: &Snapshot| {
            let session = snapshot.spec.backup_session.clone();
            session.map(|session| (snapshot.namespace().unwrap_or_default(), session)).into_iter().collect()
        })
        .watches_meta::<RestoreSession>(Api::all(client.clone()), watcher::Config::default(), move |meta| {
            waiting_in(&store, meta.namespace.as_deref().unwrap_or_default())
        })
}

fn restores(ctx: &Context, metrics: ControllerMetrics, own_writes: OwnWrites) -> Runner<RestoreSession> {
    Runner::new("restore-session", Api::all(ctx.client.clone()), Options::default(), metrics, own_writes)
}

/// Sessions of a namespace that have not begun: something that they waited for may be over.
fn waiting_in(sessions: &Store<BackupSession>, namespace: &str) -> Vec<(String, String)> {
    sessions.keys(|session| {
        session.namespace().as_deref() == Some(namespace)
            && session.status.as_ref().is_none_or(|status| status.snapshots.is_empty() && status.duration.is_none())
    })
}
