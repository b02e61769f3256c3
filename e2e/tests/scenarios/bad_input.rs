//! Bad input ends in a clear condition or refusal that names the object and the remedy, and loses nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use e2e::cluster::{condition, text};
use e2e::files;
use e2e::object_store::{ACCESS_KEY, endpoint, secret_key};
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, READY_LIMIT, REPOSITORY_PASSWORD, SESSION_LIMIT, Tenant, merge};
use serde_json::{Value, json};

async fn world(name: &str) -> (Tenant, std::path::PathBuf) {
    let tenant = Tenant::create(name).await.unwrap();
    tenant.storage().await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::make_tree(&volume).unwrap();
    (tenant, volume)
}

/// Storage whose Secret, key, bucket or endpoint is wrong says which, and becomes Ready once it is put right (D6, D7).
#[tokio::test]
async fn storage_that_cannot_be_used() {
    let tenant = Tenant::create("bad-storage").await.unwrap();
    let proxy = Proxy::start().await.unwrap();
    proxy.set(Behaviour::Unreachable);

    let mut missing = tenant.storage_manifest(&endpoint());
    merge(
        &mut missing,
        &json!({"metadata": {"name": "no-secret"}, "spec": {"storage": {"s3": {"prefix": "a", "secretName": "later"}}}}),
    );
    tenant.cluster.apply(missing).await.unwrap();
    tenant.complains("BackupStorage", "no-secret", "BackendSecretFound", &["later", &tenant.namespace]).await.unwrap();

    tenant.secret("wrong-key", json!({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": "not-the-key"})).await.unwrap();
    let mut wrong_key = tenant.storage_manifest(&endpoint());
    merge(
        &mut wrong_key,
        &json!({"metadata": {"name": "wrong-key"}, "spec": {"storage": {"s3": {"prefix": "b", "secretName": "wrong-key"}}}}),
    );
    tenant.cluster.apply(wrong_key).await.unwrap();
    let told = tenant.complains("BackupStorage", "wrong-key", "BackendInitialized", &["wrong-key"]).await.unwrap();
    assert!(!told.contains("not-the-key"), "the message leaks the key: {told}");

    let mut no_bucket = tenant.storage_manifest(&endpoint());
    merge(
        &mut no_bucket,
        &json!({"metadata": {"name": "no-bucket"}, "spec": {"storage": {"s3": {"bucket": "e2e-no-such-bucket"}}}}),
    );
    tenant.cluster.apply(no_bucket).await.unwrap();
    tenant.complains("BackupStorage", "no-bucket", "BackendInitialized", &["e2e-no-such-bucket"]).await.unwrap();

    let mut unreachable = tenant.storage_manifest(proxy.endpoint());
    merge(&mut unreachable, &json!({"metadata": {"name": "unreachable"}, "spec": {"storage": {"s3": {"prefix": "c"}}}}));
    tenant.cluster.apply(unreachable).await.unwrap();
    tenant.complains("BackupStorage", "unreachable", "BackendInitialized", &[proxy.host()]).await.unwrap();

    tenant
        .secret("later", json!({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": secret_key().unwrap()}))
        .await
        .unwrap();
    tenant
        .secret("wrong-key", json!({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": secret_key().unwrap()}))
        .await
        .unwrap();
    proxy.set(Behaviour::Faithful);
    for name in ["no-secret", "wrong-key", "unreachable"] {
        tenant.until_phase("BackupStorage", name, "Ready", READY_LIMIT).await.unwrap();
    }
    tenant.remove().await.unwrap();
}

/// References that lead nowhere and values that mean nothing: the configuration says so and starts nothing.
#[tokio::test]
async fn configuration_that_cannot_work() {
    let (tenant, _) = world("bad-configuration").await;
    let secret = json!({"name": "repository-password", "namespace": tenant.namespace});
    let addon =
        |name: &str, task: &str| json!({"addon": {"name": name, "tasks": [{"name": task, "params": {"paths": "/data"}}]}});
    let function_less = json!({
        "apiVersion": "addons.kubestash.com/v1alpha1", "kind": "Addon", "metadata": {"name": "e2e-without-function"},
        "spec": {"backupTasks": [{"name": "logical-backup", "function": "e2e-no-such-function", "driver": "Restic", "executor": "Job"}]}});
    tenant.cluster.apply(function_less).await.unwrap();

    // (name, what is wrong, words that the sentence must hold)
    let cases: Vec<(&str, Backup, Vec<&str>)> = vec![
        ("no-addon", Backup { session: addon("no-such-addon", "logical-backup"), ..Backup::default() }, vec!["no-such-addon"]),
        (
            "no-function",
            Backup { session: addon("e2e-without-function", "logical-backup"), ..Backup::default() },
            vec!["e2e-no-such-function"],
        ),
        ("no-task", Backup { session: addon("workload-addon", "no-such-task"), ..Backup::default() }, vec!["no-such-task"]),
        (
            "unsupported-task",
            Backup { session: addon("workload-addon", "volume-snapshot"), ..Backup::default() },
            vec!["volume-snapshot"],
        ),
        ("bad-cron", Backup { schedule: "61 * * * *".into(), ..Backup::default() }, vec!["61"]),
        ("dots", Backup { directory: "/a/../../b".into(), ..Backup::default() }, vec![".."]),
        (
            "twins",
            Backup {
                session: json!({"repositories": [
            {"name": "one", "backend": "backend", "directory": "/same", "encryptionSecret": secret},
            {"name": "two", "backend": "backend", "directory": "same", "encryptionSecret": secret}]}),
                ..Backup::default()
            },
            vec!["same"],
        ),
    ];
    for (name, backup, words) in cases {
        let mut manifest = tenant.backup_manifest(&backup);
        manifest["metadata"]["name"] = json!(name);
        tenant.cluster.apply(manifest).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        tenant
            .complains("BackupConfiguration", name, "ValidationPassed", &words)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(
            tenant.cluster.find("CronJob", &tenant.namespace, &format!("trigger-{name}-full")).await.unwrap().is_none(),
            "{name} has a CronJob"
        );
    }
    let batch = json!({"apiVersion": "core.kubestash.com/v1alpha1", "kind": "BackupBatch",
        "metadata": {"name": "batch", "namespace": tenant.namespace}, "spec": {}});
    tenant.cluster.apply(batch).await.unwrap();
    tenant.complains("BackupBatch", "batch", "ValidationPassed", &["not supported", "BackupConfiguration"]).await.unwrap();
    assert!(tenant.sessions().await.unwrap().is_empty(), "a configuration that cannot work started a session");

    // Two Repositories on one directory are refused across configurations too, and the first one goes on.
    tenant.backed_up(&Backup::default()).await.unwrap();
    let mut intruder = tenant.backup_manifest(&Backup { directory: "app/".into(), ..Backup::default() });
    intruder["metadata"]["name"] = json!("intruder");
    intruder["spec"]["sessions"][0]["repositories"][0]["name"] = json!("intruder");
    tenant.cluster.apply(intruder).await.unwrap();
    let words = ["is also the directory", "Repository e2e-bad-configuration/repository"];
    tenant.complains("BackupConfiguration", "intruder", "ValidationPassed", &words).await.unwrap();
    tenant.back_up_again().await.unwrap();
    tenant.cluster.delete("Addon", "", "e2e-without-function").await.unwrap();
    tenant.remove().await.unwrap();
}

/// What is missing may come later: the configuration waits, names it, and goes on by itself when it is there.
#[tokio::test]
async fn what_is_missing_may_come_later() {
    let tenant = Tenant::create("comes-later").await.unwrap();
    tenant.cluster.apply(tenant.storage_manifest(&endpoint())).await.unwrap();
    tenant.cluster.apply(tenant.backup_manifest(&Backup::default())).await.unwrap();
    let namespace = &tenant.namespace;
    let misses_the_policy = |object: &serde_json::Value| {
        text(object, "/status/backends/0/retentionPolicy/reason")
            .starts_with(&format!("RetentionPolicy {namespace}/retention does not exist"))
    };
    let what = "the missing policy to be named";
    tenant.cluster.until("BackupConfiguration", namespace, "backup", READY_LIMIT, what, misses_the_policy).await.unwrap();
    tenant.retention(json!({"maxRetentionPeriod": "2mo", "successfulSnapshots": {"last": 10}})).await.unwrap();
    let words = [&format!("Deployment {namespace}/app does not exist"), "create it"];
    let told = tenant.complains("BackupConfiguration", "backup", "orlop.dev/Progressing", &words).await;
    told.unwrap();
    files::make_tree(&tenant.workload("app", "node1").await.unwrap()).unwrap();
    let session = tenant.session_triggered_by("initial").await.unwrap();
    tenant.succeeded("BackupSession", &session).await.unwrap();
    tenant.remove().await.unwrap();
}

/// A path that is in no volume, and one on an emptyDir: the session fails and names the path.
#[tokio::test]
async fn paths_that_cannot_be_backed_up() {
    let (tenant, _) = world("bad-paths").await;
    let cases = [("wrong", "/wrong/data"), ("absent", "/data/not/there")];
    for (name, path) in cases {
        let mut manifest =
            tenant.backup_manifest(&Backup { paths: path.into(), directory: format!("/{name}"), ..Backup::default() });
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["sessions"][0]["repositories"][0]["name"] = json!(name);
        tenant.cluster.apply(manifest).await.unwrap();
        let first = |items: &[serde_json::Value]| {
            items.iter().map(|item| text(item, "/metadata/name")).find(|session| session.starts_with(name))
        };
        let session = tenant
            .cluster
            .until_list("BackupSession", &tenant.namespace, "", READY_LIMIT, "the initial session", first)
            .await
            .unwrap();
        let told = tenant.failed("BackupSession", &session, SESSION_LIMIT).await.unwrap();
        assert!(told.contains(path), "{path} is not named: {told}");
    }
    tenant.remove().await.unwrap();
}

/// emptyDir is not worth a backup, and a block-mode claim has no files: both are refused by name.
#[tokio::test]
async fn volumes_that_cannot_be_backed_up() {
    let tenant = Tenant::create("bad-volumes").await.unwrap();
    tenant.storage().await.unwrap();
    let pod = |name: &str, container: serde_json::Value, volume: serde_json::Value| {
        let mut container_manifest = json!({"name": "app", "image": "orlop.local/busybox:e2e", "imagePullPolicy": "Never", "command": ["/bin/sleep", "1000000"]});
        merge(&mut container_manifest, &container);
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": tenant.namespace},
               "spec": {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}},
                        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container_manifest], "volumes": [volume]}}}})
    };
    let mount = json!({"volumeMounts": [{"name": "scratch", "mountPath": "/data"}]});
    tenant.cluster.apply(pod("scratch", mount, json!({"name": "scratch", "emptyDir": {}}))).await.unwrap();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "raw", "namespace": tenant.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Block", "storageClassName": "e2e", "resources": {"requests": {"storage": "1Gi"}}}});
    tenant.cluster.apply(claim).await.unwrap();
    let device = json!({"volumeDevices": [{"name": "raw", "devicePath": "/data"}]});
    tenant
        .cluster
        .apply(pod("raw", device, json!({"name": "raw", "persistentVolumeClaim": {"claimName": "raw"}})))
        .await
        .unwrap();
    for (name, words) in [("scratch", ["emptyDir volume scratch", "/data"]), ("raw", ["volumeMode Block", "e2e-bad-volumes/raw"])]
    {
        let backup = Backup { workload: name.into(), directory: format!("/{name}"), ..Backup::default() };
        let mut manifest = tenant.backup_manifest(&backup);
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["sessions"][0]["repositories"][0]["name"] = json!(name);
        tenant.cluster.apply(manifest).await.unwrap();
        let told = |object: &serde_json::Value| words.iter().all(|word| object["status"].to_string().contains(word));
        let refused_early = tenant
            .cluster
            .until("BackupConfiguration", &tenant.namespace, name, Duration::from_secs(10), "a refusal", told)
            .await;
        if refused_early.is_err() {
            let first = |items: &[serde_json::Value]| {
                items.iter().map(|item| text(item, "/metadata/name")).find(|session| session.starts_with(name))
            };
            let session = tenant
                .cluster
                .until_list("BackupSession", &tenant.namespace, "", READY_LIMIT, "the initial session", first)
                .await
                .unwrap();
            let told = tenant.failed("BackupSession", &session, SESSION_LIMIT).await.unwrap();
            assert!(words.iter().all(|word| told.contains(word)), "{name}: {told}");
        }
    }
    tenant.remove().await.unwrap();
}

/// Where a quota admits no pod, the session says so in the API server's words, and goes on when it does (failure C6).
#[tokio::test]
async fn no_room_for_a_pod() {
    let (tenant, volume) = world("no-pod").await;
    let session = tenant.backed_up(&Backup::default()).await.unwrap();
    let before = files::describe(&volume).unwrap();
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": tenant.namespace},
                       "spec": {"hard": {"pods": "1"}}});
    tenant.cluster.apply(quota).await.unwrap();
    let counted = |quota: &Value| text(quota, "/status/used/pods") == "1";
    tenant
        .cluster
        .until("ResourceQuota", &tenant.namespace, "full", READY_LIMIT, "the workload's pod, counted", counted)
        .await
        .unwrap();

    files::empty(&volume).unwrap();
    tenant.restore("back", "app", &Tenant::snapshot_of(&session)).await.unwrap();
    let says = |object: &Value| {
        condition(object, "orlop.dev/Progressing")
            .is_some_and(|(_, reason, message)| reason == "PodRefused" && message.contains("exceeded quota: full"))
    };
    tenant.cluster.until("RestoreSession", &tenant.namespace, "back", READY_LIMIT, "the quota's name", says).await.unwrap();
    tenant.cluster.delete("ResourceQuota", &tenant.namespace, "full").await.unwrap();
    tenant.succeeded("RestoreSession", "back").await.unwrap();
    files::assert_same(&before, &files::describe(&volume).unwrap()).unwrap();
    tenant.remove().await.unwrap();
}

/// An unreadable file fails the component and is listed; all else is in the snapshot (invariant I2, architecture §4.9).
#[tokio::test]
async fn unreadable_file() {
    let tenant = Tenant::create("unreadable").await.unwrap();
    tenant.storage().await.unwrap();
    let security = json!({"runAsUser": 12345, "runAsGroup": 12345});
    let volume = tenant.workload_with("app", "node1", security, json!({})).await.unwrap();
    std::fs::write(volume.join("readable"), "yes").unwrap();
    std::fs::write(volume.join("a secret file"), "no").unwrap();
    std::fs::set_permissions(volume.join("a secret file"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o755)).unwrap();
    let session = tenant.backup(&Backup::default()).await.unwrap();
    let told = tenant.failed("BackupSession", &session, SESSION_LIMIT).await.unwrap();
    assert!(told.contains("a secret file"), "the unreadable file is not listed: {told}");
    let target = tempfile::tempdir().unwrap();
    let kept = tenant.restic().snapshots().await.unwrap();
    assert_eq!(kept.len(), 1, "what could be read was not kept");
    tenant.restic().restore(&text(&kept[0], "/id"), target.path()).await.unwrap();
    assert_eq!(std::fs::read_to_string(target.path().join("data/readable")).unwrap(), "yes");
    tenant.remove().await.unwrap();
}

/// A changed password is an answer, not a reason to try again or to make a new repository (failure E13).
#[tokio::test]
async fn wrong_repository_password() {
    let (tenant, _) = world("wrong-password").await;
    tenant.backed_up(&Backup::default()).await.unwrap();
    let before = tenant.bucket.keys("root/app/repository");
    tenant.secret("repository-password", json!({"RESTIC_PASSWORD": "another"})).await.unwrap();
    let session = tenant.trigger().await.unwrap();
    let told = tenant.failed("BackupSession", &session, SESSION_LIMIT).await.unwrap();
    assert!(told.contains("wrong repository password") && told.contains("Repository e2e-wrong-password/repository"), "{told}");
    assert_eq!(tenant.bucket.keys("root/app/repository"), before, "a wrong password changed the repository");
    tenant.secret("repository-password", json!({"RESTIC_PASSWORD": REPOSITORY_PASSWORD})).await.unwrap();
    tenant.back_up_again().await.unwrap();
    tenant.remove().await.unwrap();
}

/// A repository that vanished is never initialised again: the session fails and says that it is gone (D7, architecture §4.6).
#[tokio::test]
async fn vanished_repository() {
    let (tenant, _) = world("vanished").await;
    tenant.backed_up(&Backup::default()).await.unwrap();
    tenant.bucket.remove("root/app/repository").unwrap();
    let session = tenant.trigger().await.unwrap();
    let told = tenant.failed("BackupSession", &session, SESSION_LIMIT).await.unwrap();
    assert!(told.contains("the restic repository is gone; it existed, so it is not initialised again"), "{told}");
    let keys = tenant.bucket.keys("root/app/repository");
    assert!(!keys.iter().any(|key| key.ends_with("/config")), "the repository was initialised again: {keys:?}");
    tenant.remove().await.unwrap();
}

/// An unknown Snapshot leaves the restore Invalid, which is repairable, and names it.
#[tokio::test]
async fn unknown_snapshot() {
    let (tenant, _) = world("unknown-snapshot").await;
    tenant.backed_up(&Backup::default()).await.unwrap();
    tenant.restore("restore", "app", "no-such-snapshot").await.unwrap();
    tenant.complains("RestoreSession", "restore", "ValidationPassed", &["no-such-snapshot"]).await.unwrap();
    tenant.restore("restore", "app", "latest").await.unwrap();
    tenant.succeeded("RestoreSession", "restore").await.unwrap();
    tenant.remove().await.unwrap();
}

/// A restore that does not fit says so before it writes anything, and never claims success (failure G2).
#[tokio::test]
async fn restore_onto_a_full_volume() {
    let (tenant, volume) = world("full-volume").await;
    files::random_file(&volume.join("big"), 24 << 20).unwrap();
    tenant.backed_up(&Backup::default()).await.unwrap();
    let small = tenant.claim("small", "node1").await.unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&small).status().unwrap();
    assert!(mounted.success());
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "small", "namespace": tenant.namespace},
        "spec": {"selector": {"matchLabels": {"app": "small"}}, "template": {"metadata": {"labels": {"app": "small"}}, "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": "orlop.local/busybox:e2e", "imagePullPolicy": "Never", "command": ["/bin/sleep", "1000000"],
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "small"}}]}}}});
    tenant.cluster.apply(deployment).await.unwrap();
    tenant.restore("restore", "small", "latest").await.unwrap();
    let told = tenant.failed("RestoreSession", "restore", SESSION_LIMIT).await.unwrap();
    assert!(told.contains("/data has no room for the restore") && told.contains("make the volume larger"), "{told}");
    assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0, "something was written although it could not fit");
    tenant.remove().await.unwrap();
    let _ = std::process::Command::new("umount").arg("-l").arg(&small).status();
}
