//! Retention: forget exactly what the planner named, then prune what nothing needs any more.

use proto_api::mover::v1alpha1::{Integrity, RetentionWork, TargetOutcome};
use repository::maintenance::{PruneOptions, PruneReport, RepositoryStats, StatsDepth};
use repository::{Control, LockHandle, LockMode, Repository, SnapshotId};
use tracing::Instrument as _;

use crate::backup::NAMED_DAMAGES;
use crate::failure::{Failure, Place};
use crate::lock;
use crate::restore::snapshot_ids;
use crate::target::{Job, Opened};

/// Forgets and prunes. Snapshots that are gone already count as removed: an earlier attempt did it.
pub(crate) async fn run(job: &Job<'_>, work: &RetentionWork, outcome: &mut TargetOutcome) -> Result<(), Failure> {
    let ids = snapshot_ids(&work.forget_snapshot_ids)?;
    let Opened { repository, guard, place } = job.open(LockMode::Exclusive, false).await?;
    let ended = under_lock(job, &ids, &repository, &guard.handle(), &place, outcome).await;
    lock::give_back(guard, &job.context.stop).await;
    ended
}

async fn under_lock(
    job: &Job<'_>,
    ids: &[SnapshotId],
    repository: &Repository,
    lock: &LockHandle,
    place: &Place,
    outcome: &mut TargetOutcome,
) -> Result<(), Failure> {
    let control = job.reporter.control();
    job.reporter.activity("forgetting snapshots");
    let report = repository.forget(lock, ids, control).await.map_err(|error| job.failure(&error, place))?;
    // Said before the prune: what is forgotten is gone, even if the prune has to be done again by the next run.
    outcome.removed_snapshot_ids = report.removed.iter().chain(&report.absent).map(ToString::to_string).collect();
    tracing::info!(removed = report.removed.len(), absent = report.absent.len(), "snapshots forgotten");
    let (report, stats) = prune(repository, lock, control)
        .instrument(tracing::info_span!("prune", otel.name = "mover.prune"))
        .await
        .map_err(|error| job.failure(&error, place))?;
    outcome.repository_bytes = stats.pack_bytes;
    tell_damage(place, &report, outcome);
    Ok(())
}

/// A prune that spares damaged packs loses nothing, so it has not failed, but somebody should know.
fn tell_damage(place: &Place, report: &PruneReport, outcome: &mut TargetOutcome) {
    if report.packs_damaged == 0 {
        return;
    }
    let named = report.damaged.iter().take(NAMED_DAMAGES).map(|damage| format!("{}: {}", damage.key, damage.reason));
    let named: Vec<String> = named.collect();
    outcome.integrity = Integrity::Damaged.into();
    outcome.error = format!(
        "{place}: {} packs are damaged and stay as they are: {}; everything else was pruned; snapshots may miss data: check the \
         repository",
        report.packs_damaged,
        named.join("; ")
    );
}

async fn prune(
    repository: &Repository,
    lock: &LockHandle,
    control: &Control,
) -> repository::Result<(PruneReport, RepositoryStats)> {
    let plan = repository.plan_prune(lock, &PruneOptions::default(), control).await?;
    let freed_bytes = plan.freed_bytes();
    let report = repository.prune(lock, plan, control).await?;
    tracing::info!(freed_bytes, packs_damaged = report.packs_damaged, "repository pruned");
    for damage in &report.damaged {
        tracing::warn!(key = damage.key, reason = damage.reason, "a damaged pack stays as it is");
    }
    let stats = repository.stats(StatsDepth::Quick, control).await?;
    Ok((report, stats))
}
