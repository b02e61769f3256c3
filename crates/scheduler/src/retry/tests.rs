#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use testkit::fixtures;

use super::*;
use crate::test_support::{CONFIGURATION, NAMESPACE, World, triggered_by};

const NOON: &str = "2026-03-01T12:00:00Z";

async fn failed(world: &World, status: serde_json::Value) -> Arc<BackupSession> {
    let configuration = world.ready().await;
    let mut session = fixtures::backup_session(&configuration, "web-backup-nightly-1");
    session.spec.retry_left = Some(2);
    session.status = Some(fixtures::object(status));
    Arc::new(world.server.put(&session))
}

async fn reconcile(world: &World, session: &Arc<BackupSession>) -> Next {
    Retry::new(world.context.clone()).reconcile(session.clone()).await.unwrap()
}

#[tokio::test]
async fn a_failed_session_is_tried_again_when_it_is_due_and_once() {
    let world = World::new(NOON);
    let session = failed(&world, json!({ "phase": "Failed", "nextRetry": "2026-03-01T12:05:00Z" })).await;
    assert_eq!(reconcile(&world, &session).await, Next::After(Duration::from_secs(300)));
    world.at("2026-03-01T12:05:00Z");
    reconcile(&world, &session).await;
    world.at("2026-03-01T12:06:00Z");
    reconcile(&world, &session).await;
    let retries: Vec<BackupSession> = world.sessions().into_iter().filter(triggered_by_retry).collect();
    assert_eq!(retries.len(), 1);
    assert_eq!(retries[0].spec.retry_left, Some(1));
    assert_eq!(retries[0].metadata.annotations.as_ref().unwrap()[annotations::RETRY_OF], "web-backup-nightly-1");
}

fn triggered_by_retry(session: &BackupSession) -> bool {
    session.metadata.annotations.is_some() && triggered_by(session) == "retry"
}

#[tokio::test]
async fn others_are_not_tried_again() {
    for status in [
        json!({ "phase": "Succeeded", "nextRetry": NOON }),
        json!({ "phase": "Failed" }),
        json!({ "phase": "Failed", "nextRetry": NOON, "retried": true }),
        json!({ "phase": "Running", "nextRetry": NOON }),
    ] {
        let world = World::new(NOON);
        let session = failed(&world, status.clone()).await;
        reconcile(&world, &session).await;
        assert_eq!(world.sessions().len(), 1, "{status}");
    }
    let world = World::new(NOON);
    let session = failed(&world, json!({ "phase": "Failed", "nextRetry": NOON })).await;
    world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
        configuration.spec.paused = Some(true);
    });
    reconcile(&world, &session).await;
    assert_eq!(world.sessions().len(), 1, "paused");
}
