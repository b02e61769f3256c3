//! BackupBatches, which are accepted and kept and back nothing up yet (specification §1.3.6). They say so: silence would look
//! like a backup.

use std::sync::Arc;

use crd_types::{
    BackupBatch, BackupBatchStatus, BackupConfigurationPhase,
    conditions::{self, reason},
    names::manager,
};
use kube::{Api, Client};
use kube_kit::{
    conditions::{Wanted, merge},
    controller::{ControllerMetrics, Next, Options, Reconciler, Runner},
    finalize,
    own_writes::OwnWrites,
    status::{Guard, StatusError, apply_status},
};
use service_kit::readiness::Gate;

use crate::{context::Context, references::namespace};

/// What a BackupBatch is told, and what to do instead.
pub const NOT_SUPPORTED: &str =
    "BackupBatch is not supported yet and backs nothing up; make one BackupConfiguration for each of its targets";

/// The controller of BackupBatches.
pub fn runner(client: &Client, metrics: ControllerMetrics, own_writes: OwnWrites, gate: Gate) -> Runner<BackupBatch> {
    Runner::new("backup-batch", Api::all(client.clone()), Options::default(), metrics, own_writes).gate(gate)
}

/// Tells BackupBatches that nothing backs them up.
pub struct Batches {
    context: Context,
}

impl Batches {
    /// A teller of that.
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Reconciler for Batches {
    type Resource = BackupBatch;
    type Error = StatusError;

    async fn reconcile(&self, batch: Arc<BackupBatch>) -> Result<Next, StatusError> {
        if finalize::is_deleting(batch.as_ref()) {
            return Ok(Next::Changed);
        }
        let before = batch.status.clone().unwrap_or_default();
        let refusal = Wanted::no(conditions::VALIDATION_PASSED, reason::RESOURCE_VALIDATION_FAILED, NOT_SUPPORTED)
            .at_generation(batch.metadata.generation);
        let after = BackupBatchStatus {
            conditions: merge(&before.conditions, [refusal], self.context.now()),
            phase: Some(BackupConfigurationPhase::Invalid),
            ..BackupBatchStatus::default()
        };
        if after == before {
            return Ok(Next::Changed);
        }
        let api = self.context.api::<BackupBatch>(&namespace(batch.as_ref()));
        apply_status(&api, manager::SCHEDULER, batch.as_ref(), &after, Guard::Version).await?;
        self.context.events.warning(batch.as_ref(), "NotSupported", "Validate", NOT_SUPPORTED).await;
        Ok(Next::Changed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;
    use testkit::fixtures;

    use super::*;
    use crate::test_support::{NAMESPACE, World};

    /// What was written for KubeStash and asks for more than there is says so, once and not at every look.
    #[tokio::test]
    async fn a_batch_says_that_nothing_backs_it_up() {
        let world = World::new("2026-03-01T12:00:00Z");
        let batch = fixtures::object(json!({"metadata": {"namespace": NAMESPACE, "name": "all"}, "spec": {}}));
        let mut batch: BackupBatch = world.server.put(&batch);
        let controller = Batches::new(world.context.clone());
        for _ in 0..2 {
            world.server.forget_requests();
            controller.reconcile(Arc::new(batch)).await.unwrap();
            batch = world.server.get(NAMESPACE, "all").unwrap();
        }
        assert!(world.server.verbs().is_empty(), "a second look changes nothing");
        let status = batch.status.unwrap();
        assert_eq!(status.phase, Some(BackupConfigurationPhase::Invalid));
        assert_eq!(status.conditions[0].type_, conditions::VALIDATION_PASSED);
        assert_eq!(status.conditions[0].message.as_deref(), Some(NOT_SUPPORTED));
    }
}
