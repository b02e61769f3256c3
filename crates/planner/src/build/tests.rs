#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::{BackupConfiguration, BackupSession, PodTemplateSpec, Repository, RestoreDataSource, TypedObjectReference};
use k8s_openapi::api::core::v1::{Volume, VolumeMount};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;

use super::*;
use crate::{
    names::{self, Owner},
    resolve::ResolvedTask,
    workload::{Identity, IdentitySources, Placement, identity},
};

fn parse<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).expect("fixture")
}

fn configuration() -> BackupConfiguration {
    parse(
        "
metadata:
  name: web-backup
  namespace: prod
  uid: bc-uid
  labels: {team: red, app.kubernetes.io/instance: argo}
spec:
  target: {apiGroup: apps, kind: Deployment, name: web}
  backends: [{name: s3, storageRef: {name: main, namespace: storage}, retentionPolicy: {name: keep}}]
  sessions:
  - name: nightly
    backupTimeout: 2h
    scheduler:
      schedule: 0 2 * * *
      concurrencyPolicy: Forbid
      startingDeadlineSeconds: 100
      jobTemplate:
        backoffLimit: 1
        template:
          metadata: {labels: {tier: trigger}}
          spec: {nodeSelector: {disk: ssd}, resources: {}}
    repositories:
    - {name: web-repo, backend: s3, directory: /web, encryptionSecret: {name: password}, deletionPolicy: WipeOut}
",
    )
}

fn session() -> BackupSession {
    parse(
        "
metadata:
  name: web-backup-nightly-1760000000
  namespace: prod
  uid: bs-uid
  labels: {team: red, argocd.argoproj.io/instance: argo, kubestash.com/invoker-name: web-backup}
spec:
  invoker: {apiGroup: core.kubestash.com, kind: BackupConfiguration, name: web-backup}
  session: nightly
",
    )
}

fn repository_object() -> Repository {
    parse("{metadata: {name: web-repo, namespace: prod, uid: repo-uid}}")
}

fn manners() -> PodManners {
    PodManners {
        image_pull_secrets: vec!["registry".to_owned()],
        image_pull_policy: Some("IfNotPresent".to_owned()),
        proxy: vec![("HTTPS_PROXY".to_owned(), "http://proxy:3128".to_owned())],
        telemetry: Vec::new(),
        no_proxy_hosts: vec!["orlop-session-controller-headless.orlop-system.svc".to_owned()],
        default_requests: [("cpu".to_owned(), "100m".to_owned())].into(),
        default_limits: [("memory".to_owned(), "1Gi".to_owned())].into(),
    }
}

fn tokens() -> Vec<Token> {
    let token = |volume, name: &str| Token {
        volume,
        audience: format!("orlop-{name}"),
        path: format!("/var/run/secrets/orlop.dev/{name}/token"),
    };
    vec![token("orlop-session-token", "session"), token("orlop-storage-token", "storage")]
}

fn task() -> ResolvedTask {
    ResolvedTask {
        name: "logical-backup".to_owned(),
        image: "registry.example/data-mover:v1".to_owned(),
        args: vec!["agent".to_owned(), "backup".to_owned(), "--paths=/source/data".to_owned()],
        env: parse("[{name: ORLOP_SESSION_UID, value: forged}, {name: LEVEL, value: debug}]"),
        ..retention_task("unused")
    }
}

struct Parts {
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
    placement: Placement,
    identity: Identity,
}

fn parts() -> Parts {
    Parts {
        volumes: parse("[{name: data, persistentVolumeClaim: {claimName: data}}, {name: kubestash-tmp-volume, emptyDir: {}}]"),
        mounts: parse(
            "[{name: data, mountPath: /source/data, readOnly: true}, {name: kubestash-tmp-volume, mountPath: /kubestash-tmp}]",
        ),
        placement: Placement {
            node: Some("node-a".to_owned()),
            because: None,
            tolerations: parse("[{key: dedicated, operator: Exists}]"),
        },
        identity: identity(crate::resolve::Verb::Backup, &IdentitySources::default()),
    }
}

fn built(work: Work, template: Option<&PodTemplateSpec>, host_namespaces: bool) -> k8s_openapi::api::batch::v1::Job {
    let session = session();
    let parts = parts();
    let owner = Owner::new("prod", session.name_any(), "bs-uid");
    let (component, name, task) = match work {
        Work::Retention => ("retention", names::retention_job(&owner, 2), retention_task("registry.example/data-mover:v1")),
        _ => ("dump", names::backup_job(&owner, "dump", None, 2), task()),
    };
    job(&JobRequest {
        name: &name.preferred(),
        tuple_digest: "digest",
        session: SessionRef { kind: "BackupSession", metadata: &session.metadata, session: session.spec.session.as_deref() },
        work,
        component,
        attempt: 2,
        task: &task,
        volumes: if work == Work::Retention { &task.volumes } else { &parts.volumes },
        mounts: if work == Work::Retention { &task.volume_mounts } else { &parts.mounts },
        placement: &parts.placement,
        identity: &parts.identity,
        template,
        host_namespaces,
        environment: &[
            ("ORLOP_SESSION_UID".to_owned(), "bs-uid".to_owned()),
            ("COMPONENT_NAME".to_owned(), component.to_owned()),
        ],
        fields: &[("POD_NAME", "metadata.name"), ("NODE_NAME", "spec.nodeName")],
        tokens: &tokens(),
        manners: &manners(),
        service_account: "web-backup-nightly-1760000000",
        deadline_seconds: 7200,
        proof: "proof",
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    })
}

#[test]
fn a_backup_job() {
    insta::assert_yaml_snapshot!(built(Work::Backup, None, false));
}

#[test]
fn a_retention_job() {
    insta::assert_yaml_snapshot!(built(Work::Retention, None, false));
}

/// S-05 as architecture overrules it: the template is honoured, within bounds.
#[test]
fn a_job_with_a_template() {
    let template: PodTemplateSpec = parse(
        "
controller: {labels: {kept: 'yes', app.kubernetes.io/instance: argo}, annotations: {note: job}}
metadata: {labels: {orlop.dev/session-uid: forged}, annotations: {note: pod, sidecar.istio.io/inject: 'true'}}
spec:
  hostNetwork: true
  hostPID: true
  serviceAccountName: mine
  nodeSelector: {disk: ssd}
  terminationGracePeriodSeconds: 5
  priorityClassName: low
  tolerations: [{key: other, operator: Exists}]
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions: [{key: zone, operator: In, values: [a]}]
        - matchExpressions: [{key: zone, operator: In, values: [b]}]
  imagePullSecrets: [{name: mine}]
  volumes: [{name: extra, configMap: {name: extra}}, {name: orlop-session-token, emptyDir: {}}]
  initContainers:
  - name: before
    image: busybox
    volumeMounts: [{name: orlop-session-token, mountPath: /steal}, {name: extra, mountPath: /extra}]
",
    );
    let job = built(Work::Backup, Some(&template), false);
    let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    assert_eq!(pod.host_network, None);
    assert_eq!(built(Work::Backup, Some(&template), true).spec.unwrap().template.spec.unwrap().host_network, Some(true));
    insta::assert_yaml_snapshot!(job);
}

/// Architecture §7: whatever a Function or user sets, the variables that lead the mover to its session are ours.
#[test]
fn our_variables_win() {
    let job = built(Work::Backup, None, false);
    let pod = job.spec.unwrap().template.spec.unwrap();
    let env = pod.containers[0].env.as_ref().unwrap();
    let uids: Vec<&str> = env
        .iter()
        .filter(|variable| variable.name == "ORLOP_SESSION_UID")
        .filter_map(|variable| variable.value.as_deref())
        .collect();
    assert_eq!(uids, ["bs-uid"]);
}

#[test]
fn a_trigger_cron_job() {
    let configuration = configuration();
    let session = &configuration.spec.sessions[0];
    insta::assert_yaml_snapshot!(trigger::cron_job(&trigger::CronJobRequest {
        name: "trigger-web-backup-nightly",
        tuple_digest: "digest",
        configuration: &configuration,
        session,
        scheduler: session.scheduler.as_ref().unwrap(),
        suspend: false,
        time_zone: "Etc/UTC",
        image: "registry.example/data-mover:v1",
        args: &["trigger".to_owned()],
        environment: &[("ORLOP_SESSION".to_owned(), "nightly".to_owned())],
        fields: &[("POD_NAME", "metadata.name")],
        tokens: &[Token {
            volume: "orlop-schedule-token",
            audience: "orlop-schedule".to_owned(),
            path: "/var/run/secrets/orlop.dev/schedule/token".to_owned(),
        }],
        manners: &manners(),
        service_account: "trigger-web-backup-nightly",
    }));
}

/// The policy selects the pods of this configuration's CronJobs by labels that they bear, and goes with it.
#[test]
fn a_trigger_network_policy() {
    insta::assert_yaml_snapshot!(trigger_network_policy(&configuration()));
}

#[test]
fn custom_resources() {
    let configuration = configuration();
    let session = &configuration.spec.sessions[0];
    let bc = Owner::new("prod", "web-backup", "bc-uid");
    let name = names::backup_session(&bc, "nightly", 1_760_000_000);
    insta::assert_yaml_snapshot!(
        "backup-session",
        backup_session(&BackupSessionRequest {
            named: Named { name: &name.preferred(), identity: &name },
            configuration: &configuration,
            session,
            retry_left: 2,
            triggered_by: "cronjob",
            annotations: [("orlop.dev/slot".to_owned(), "2025-10-09T08:53:20Z".to_owned())].into(),
        })
    );
    let made = self::session();
    let repository_object = repository_object();
    let name = names::snapshot(&Owner::new("prod", "web-repo", "repo-uid"), &Owner::new("prod", made.name_any(), "bs-uid"));
    insta::assert_yaml_snapshot!(
        "snapshot",
        snapshot(&SnapshotRequest {
            named: Named { name: &name.preferred(), identity: &name },
            repository: &repository_object,
            backup_session: &made,
            target: configuration.spec.target.as_ref(),
            snapshot_id: "01K7EXAMPXE000000000000000".to_owned(),
        })
    );
    insta::assert_yaml_snapshot!(
        "repository",
        repository(&RepositoryRequest {
            configuration: &configuration,
            entry: &session.repositories[0],
            storage: configuration.spec.backends[0].storage_ref.as_ref().unwrap(),
        })
    );
    insta::assert_yaml_snapshot!(
        "restore-session",
        restore_session(RestoreSessionRequest {
            namespace: "prod".to_owned(),
            name: "back".to_owned(),
            target: TypedObjectReference {
                kind: Some("Deployment".to_owned()),
                name: "web".to_owned(),
                ..TypedObjectReference::default()
            },
            data_source: RestoreDataSource { snapshot: Some("latest".to_owned()), ..RestoreDataSource::default() },
            addon: parse("{name: workload-addon, tasks: [{name: logical-backup-restore}]}"),
            annotations: Default::default(),
        })
    );
}
