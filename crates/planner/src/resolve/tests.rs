#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rstest::rstest;
use serde::de::DeserializeOwned;

use super::*;

fn parse<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).expect("fixture")
}

fn addon() -> Addon {
    parse(
        "
metadata: {name: workload-addon}
spec:
  backupTasks:
  - name: logical-backup
    function: workload-backup
    driver: Restic
    executor: Job
    singleton: false
    parameters:
    - {name: paths, required: true}
    - {name: exclude}
    - {name: enableCache, default: 'true'}
    - {name: scratchDir, default: /kubestash-tmp}
    volumeTemplate:
    - {name: kubestash-tmp-volume, source: {emptyDir: {}}}
    volumeMounts:
    - {name: kubestash-tmp-volume, mountPath: /kubestash-tmp}
  - {name: volume-snapshot, function: volumesnapshot-backup, driver: VolumeSnapshotter, singleton: true}
  - {name: manifest-backup, function: manifest-backup, driver: Restic, executor: Job}
  - {name: pushed, function: pushed, driver: WalG, executor: Job}
  - {name: beside, function: beside, driver: Restic, executor: Sidecar}
  - name: strict
    function: workload-backup
    driver: Restic
    parameters: [{name: needed, required: true}]
  restoreTasks:
  - {name: logical-backup-restore, function: workload-restore, driver: Restic, executor: Job}
",
    )
}

fn function() -> Function {
    parse(
        "
metadata: {name: workload-backup}
spec:
  image: registry.example/mover:${VERSION:=v1}
  args: [agent, backup, '--paths=${paths:=}', '--exclude=${exclude:=}', '--scratch-dir=${scratchDir}', '--cache=${enableCache}', '--ns=${namespace:=default}']
  runtimeSettings:
    resources: {requests: {cpu: 100m}}
    env: [{name: A, value: function}, {name: B, value: function}]
",
    )
}

fn resolved(info: &str) -> Result<ResolvedTask, ResolveError> {
    resolve(&Request {
        verb: Verb::Backup,
        addon: &addon(),
        function: &function(),
        info: &parse(info),
        builtins: Variables::of_session("demo", "BackupConfiguration", "web"),
        mounted_paths: &["/source/data".to_owned(), "/source/config".to_owned()],
    })
}

#[test]
fn parameters_fill_the_arguments() {
    let task = resolved(
        "{name: workload-addon, tasks: [{name: logical-backup, params: {paths: '/source/data, /b', exclude: \"a'\\\"b\"}}]}",
    )
    .unwrap();
    assert_eq!(task.image, "registry.example/mover:v1");
    assert_eq!(
        task.args,
        [
            "agent",
            "backup",
            "--paths=/source/data, /b",
            "--exclude=a'\"b",
            "--scratch-dir=/kubestash-tmp",
            "--cache=true",
            "--ns=demo"
        ]
    );
    assert_eq!(task.paths, ["/source/data", "/b"]);
    assert_eq!(task.volumes.len(), 1);
    assert!(task.volumes[0].empty_dir.is_some());
    assert_eq!(task.volume_mounts[0].mount_path, "/kubestash-tmp");
}

/// Specification §4.2: four published manifests leave `paths` away.
#[test]
fn paths_default_to_what_the_target_mounts() {
    let task = resolved("{name: workload-addon, tasks: [{name: logical-backup}]}").unwrap();
    assert_eq!(task.paths, ["/source/data", "/source/config"]);
    assert!(task.args.contains(&"--paths=/source/data,/source/config".to_owned()));
}

/// Specification §6.4: spellings of old manifests.
#[rstest]
#[case("LogicalBackup", "logical-backup")]
#[case("VolumeSnapshotRestore", "volume-snapshot-restore")]
#[case("logical-backup", "logical-backup")]
#[case("anything", "anything")]
fn legacy_names_are_understood(#[case] written: &str, #[case] expected: &str) {
    assert_eq!(task_name(written), expected);
}

#[test]
fn a_legacy_task_name_resolves() {
    let task = resolved("{name: workload-addon, tasks: [{name: LogicalBackup, params: {paths: /d}}]}").unwrap();
    assert_eq!(task.name, "logical-backup");
}

/// Specification §6.4: a cache volume is replaced under a name that is itself a placeholder.
#[test]
fn a_volume_is_replaced_by_its_resolved_name() {
    let task = resolved(
        "
name: workload-addon
tasks:
- name: logical-backup
  addonVolumes:
  - name: ${RESTIC_CACHE_VOLUME}
    source: {persistentVolumeClaim: {claimName: cache}}
",
    )
    .unwrap();
    assert_eq!(task.volumes[0].persistent_volume_claim.as_ref().unwrap().claim_name, "cache");
    assert!(task.volumes[0].empty_dir.is_none());

    let claimed = resolved(
        "
name: workload-addon
tasks:
- name: logical-backup
  addonVolumes:
  - name: kubestash-tmp-volume
    source: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}
",
    )
    .unwrap();
    assert!(claimed.volumes[0].ephemeral.is_some());
}

#[test]
fn user_settings_win_over_the_function() {
    let task = resolved(
        "
name: workload-addon
containerRuntimeSettings:
  env: [{name: B, value: session}, {name: C, value: session}]
  nice: {adjustment: 5}
jobTemplate:
  spec:
    resources: {}
    env: [{name: C, value: template}]
    containerSecurityContext: {runAsUser: 7}
tasks: [{name: logical-backup}]
",
    )
    .unwrap();
    let env: Vec<(&str, &str)> =
        task.env.iter().map(|variable| (variable.name.as_str(), variable.value.as_deref().unwrap())).collect();
    assert_eq!(env, [("A", "function"), ("B", "session"), ("NICE_ADJUSTMENT", "5"), ("C", "template")]);
    assert!(task.resources.unwrap().requests.unwrap().contains_key("cpu"));
    assert_eq!(task.security_context.unwrap().run_as_user, Some(7));
}

#[rstest]
#[case("{}", "AddonNotNamed")]
#[case("{name: a}", "TaskNotNamed")]
#[case("{name: a, tasks: [{name: nothing}]}", "TaskUnknown")]
#[case("{name: a, tasks: [{name: volume-snapshot}]}", "TaskNotSupported")]
#[case("{name: a, tasks: [{name: VolumeSnapshot}]}", "TaskNotSupported")]
#[case("{name: a, tasks: [{name: manifest-backup}]}", "TaskNotSupported")]
#[case("{name: a, tasks: [{name: logical-backup}, {name: manifest-backup}]}", "TaskNotSupported")]
#[case("{name: a, tasks: [{name: pushed}]}", "TaskNotSupported")]
#[case("{name: a, tasks: [{name: beside}]}", "TaskNotSupported")]
#[case("{name: a, tasks: [{name: logical-backup}, {name: logical-backup}]}", "SeveralTasks")]
#[case("{name: a, tasks: [{name: strict}]}", "ParameterMissing")]
#[case("{name: a, tasks: [{name: logical-backup, params: {paths: [/a]}}]}", "ParameterNotPlain")]
#[case("{name: a, tasks: [{name: logical-backup, params: {paths: data}}]}", "PathInvalid")]
#[case("{name: a, tasks: [{name: logical-backup, variables: [{name: X, valueFrom: {}}]}]}", "VariableNotPlain")]
#[case("{name: a, tasks: [{name: logical-backup, addonVolumes: [{name: other}]}]}", "VolumeUnknown")]
fn what_cannot_work_is_said_in_a_sentence(#[case] info: &str, #[case] reason: &str) {
    let error = resolved(info).unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
}

/// Architecture §3 step 12: the sentence a user reads on `ValidationPassed`.
#[test]
fn an_unsupported_task_names_itself_and_the_remedy() {
    let info = parse("{name: workload-addon, tasks: [{name: volume-snapshot}]}");
    let error = check(Verb::Backup, &addon(), &info).unwrap_err();
    insta::assert_snapshot!(error, @"task volume-snapshot of Addon workload-addon is not supported yet: volume snapshots are not taken yet; use task logical-backup");
}

#[test]
fn a_check_needs_neither_target_nor_function() {
    let info = parse("{name: workload-addon, tasks: [{name: logical-backup}]}");
    let checked = check(Verb::Backup, &addon(), &info).unwrap();
    assert_eq!(checked, Checked { task: "logical-backup".to_owned(), function: "workload-backup".to_owned() });
    let restore = parse("{name: workload-addon, tasks: [{name: LogicalBackupRestore}]}");
    assert_eq!(check(Verb::Restore, &addon(), &restore).unwrap().function, "workload-restore");
}
