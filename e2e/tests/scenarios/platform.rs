//! The platform API, called as tooling calls it: with the rights of a ServiceAccount and never with more (architecture §6).

use e2e::files;
use e2e::platform::{call, dial, token, undisturbed};
use e2e::tenant::{Backup, SESSION_LIMIT, Tenant};
use proto_api::common::v1alpha1::ObjectRef;
use proto_api::schedule::v1alpha1 as schedule;
use proto_api::schedule::v1alpha1::schedule_service_client::ScheduleServiceClient;
use proto_api::session::v1alpha1 as session;
use proto_api::session::v1alpha1::session_service_client::SessionServiceClient;
use proto_api::storage::v1alpha1 as storage;
use proto_api::storage::v1alpha1::storage_service_client::StorageServiceClient;
use serde_json::json;
use tonic::Code;

/// ServiceAccount `name`, with these rules if there are any.
async fn account(tenant: &Tenant, name: &str, rules: serde_json::Value) -> String {
    let meta = json!({"name": name, "namespace": tenant.namespace});
    let group = "rbac.authorization.k8s.io";
    let manifests = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": meta, "rules": rules}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": meta,
               "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
               "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": tenant.namespace}]}),
    ];
    for manifest in manifests {
        tenant.cluster.apply(manifest).await.unwrap();
    }
    token(&tenant.namespace, name, "orlop", &[]).await.unwrap()
}

/// Tooling backs up, looks, restores and asks why through gRPC; who may not do it with kubectl may not do it here.
#[tokio::test]
async fn tooling_has_its_own_rights_and_no_more() {
    let tenant = Tenant::create("platform").await.unwrap();
    tenant.storage().await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::make_tree(&volume).unwrap();
    tenant.backed_up(&Backup::default()).await.unwrap();
    let before = files::describe(&volume).unwrap();
    let rules = json!([
        {"apiGroups": ["core.kubestash.com"], "resources": ["backupconfigurations"], "verbs": ["get", "list"]},
        {"apiGroups": ["core.kubestash.com"], "resources": ["backupsessions", "restoresessions"], "verbs": ["get", "list", "watch", "create"]},
        {"apiGroups": ["storage.kubestash.com"], "resources": ["repositories", "snapshots", "backupstorages"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    ]);
    let tool = account(&tenant, "tool", rules).await;
    let looker =
        account(&tenant, "looker", json!([{"apiGroups": ["core.kubestash.com"], "resources": ["*"], "verbs": ["get", "list"]}]))
            .await;
    let named = |kind: &str, name: &str| Some(ObjectRef::named(kind, tenant.namespace.clone(), name));

    let _undisturbed = undisturbed().await;
    let mut schedules = ScheduleServiceClient::new(dial(&tenant.cluster, "scheduler").await.unwrap());
    let all = schedule::ListRequest { namespace: tenant.namespace.clone(), ..Default::default() };
    let listed = schedules.list(call(&looker, all).unwrap()).await.unwrap().into_inner();
    assert_eq!(listed.schedules[0].session, "full");
    let trigger = schedule::TriggerRequest {
        backup_configuration: named("BackupConfiguration", "backup"),
        session: "full".into(),
        idempotency_key: "once".into(),
    };
    let refused = schedules.trigger(call(&looker, trigger.clone()).unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let made = schedules.trigger(call(&tool, trigger.clone()).unwrap()).await.unwrap().into_inner();
    let again = schedules.trigger(call(&tool, trigger).unwrap()).await.unwrap().into_inner();
    assert_eq!((made.created, again.created, &made.backup_session), (true, false, &again.backup_session));
    let backup = made.backup_session.unwrap().name;
    tenant.succeeded("BackupSession", &backup).await.unwrap();

    let mut storages = StorageServiceClient::new(dial(&tenant.cluster, "storage-initializer").await.unwrap());
    let of_repository = storage::ListSnapshotsRequest { repository: named("Repository", "repository"), ..Default::default() };
    let snapshots = storages.list_snapshots(call(&tool, of_repository.clone()).unwrap()).await.unwrap().into_inner().snapshots;
    assert_eq!(snapshots.len(), 2);
    let refused = storages.list_snapshots(call(&looker, of_repository).unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");

    files::empty(&volume).unwrap();
    let mut sessions = SessionServiceClient::new(dial(&tenant.cluster, "session-controller").await.unwrap());
    let restore = session::StartRestoreRequest {
        restore_session: named("RestoreSession", "by-tool"),
        target: Some(session::Target {
            api_group: "apps".into(),
            kind: "Deployment".into(),
            namespace: tenant.namespace.clone(),
            name: "app".into(),
        }),
        repository: named("Repository", "repository"),
        snapshot: "latest".into(),
        addon: "workload-addon".into(),
        task: "logical-backup-restore".into(),
        encryption_secret: named("Secret", "repository-password"),
        ..Default::default()
    };
    let refused = sessions.start_restore(call(&looker, restore.clone()).unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    sessions.start_restore(call(&tool, restore).unwrap()).await.unwrap();
    let watched = session::WatchRequest { session: named("RestoreSession", "by-tool") };
    let mut updates = sessions.watch(call(&tool, watched).unwrap()).await.unwrap().into_inner();
    let mut last = None;
    // The stream must end by itself once the session is complete.
    let watch = async {
        while let Some(update) = updates.message().await.unwrap() {
            last = update.session;
        }
    };
    tokio::time::timeout(SESSION_LIMIT, watch).await.expect("the watch of a completed session ends");
    let last = last.expect("a watch shows the session at least once");
    assert!(last.complete && last.phase == "Succeeded", "{last:?}");
    files::assert_same(&before, &files::describe(&volume).unwrap()).unwrap();
    let asked = session::ExplainRequest { session: named("BackupSession", &backup) };
    let why = sessions.explain(call(&looker, asked).unwrap()).await.unwrap().into_inner();
    assert!(!why.reasons.is_empty(), "a session without a reason");
    tenant.remove().await.unwrap();
}
