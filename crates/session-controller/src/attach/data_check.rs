//! Which stored data the check after a backup reads back.

use crd_types::{BackupConfiguration, BackupSession, Snapshot, labels};
use planner::names::label_value;
use planner::session::{data_check, data_check_period};
use proto_api::mover::v1alpha1::DataCheck;
use proto_api::time;

use crate::context::Context;
use crate::reads::{ReadError, list};

/// What the backup of a component into a Repository, for this Snapshot of it, reads back; `None` if nothing is due. A configuration that is gone, or whose
/// word cannot be understood, leaves it with the cluster's period: `ValidationPassed` says what is wrong.
pub(super) async fn of_target(
    ctx: &Context,
    session: &BackupSession,
    configuration: Option<&BackupConfiguration>,
    (snapshot, repository, component): (&str, &str, &str),
) -> Result<Option<DataCheck>, ReadError> {
    let namespace = session.metadata.namespace.as_deref().unwrap_or_default();
    let default = ctx.settings.data_check_period;
    let period = configuration.map_or(Ok(default), |configuration| data_check_period(configuration, default));
    let period = period.unwrap_or_else(|error| {
        tracing::warn!(%error, "the cluster's period is taken instead");
        default
    });
    let selector = format!("{}={}", labels::REPO_NAME, label_value(repository));
    let mut snapshots: Vec<Snapshot> = list(ctx, namespace, Some(&selector)).await?;
    snapshots.retain(|snapshot| {
        snapshot.spec.repository.as_deref() == Some(repository) && snapshot.spec.session == session.spec.session
    });
    let due = data_check(&snapshots, snapshot, component, period, ctx.now());
    Ok(due.map(|due| DataCheck {
        since: Some(time::to_proto(due.since)),
        until: Some(time::to_proto(due.until)),
        period_seconds: due.period.as_secs().unsigned_abs(),
    }))
}
