#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{PersistentVolumeClaim, Pod},
};
use rstest::rstest;
use serde::de::DeserializeOwned;

use super::*;
use crate::resolve::ResolvedTask;

fn parse<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).expect("fixture")
}

const TEMPLATE: &str = "
spec:
  securityContext: {runAsUser: 1000, fsGroup: 2000, supplementalGroups: [7]}
  tolerations: [{key: dedicated, operator: Exists}]
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: data}}
  - {name: config, persistentVolumeClaim: {claimName: config}}
  - {name: scratch, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  containers:
  - name: app
    image: app
    env:
    - {name: TENANT, value: red}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    volumeMounts:
    - {name: data, mountPath: /source/data}
    - {name: config, mountPath: /source/config/}
    - {name: scratch, mountPath: /scratch}
    - {name: settings, mountPath: /etc/settings}
  - name: sidecar
    image: sidecar
    securityContext: {runAsUser: 3000}
    volumeMounts:
    - {name: data, mountPath: /source/data, readOnly: true}
    - {name: data, mountPath: /mirror, subPath: mirror}
";

fn pod(name: &str, owner: &str, node: &str, ready: bool) -> Pod {
    parse(&format!(
        "
metadata: {{name: {name}, namespace: demo, uid: uid-{name}, ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {owner}, uid: {owner}}}]}}
spec:
  nodeName: {node}
  securityContext: {{runAsUser: 1000, fsGroup: 2000, supplementalGroups: [7]}}
  tolerations: [{{key: dedicated, operator: Exists}}]
  containers: [{{name: app, image: app}}, {{name: sidecar, image: sidecar, securityContext: {{runAsUser: 3000}}}}]
  volumes:
  - {{name: data, persistentVolumeClaim: {{claimName: data}}}}
status:
  phase: Running
  conditions: [{{type: Ready, status: '{}'}}]
",
        if ready { "True" } else { "False" }
    ))
}

fn claim(name: &str, mode: &str) -> PersistentVolumeClaim {
    parse(&format!("{{metadata: {{name: {name}, namespace: demo}}, spec: {{accessModes: [{mode}]}}}}"))
}

fn replica_set(name: &str, revision: u32) -> ReplicaSet {
    parse(&format!(
        "{{metadata: {{name: {name}, uid: {name}, annotations: {{deployment.kubernetes.io/revision: '{revision}'}}, ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: web, uid: web-uid}}]}}}}"
    ))
}

fn deployment(pods: Vec<Pod>) -> TargetView {
    TargetView {
        kind: TargetKind::Deployment,
        namespace: "demo".to_owned(),
        name: "web".to_owned(),
        uid: "web-uid".to_owned(),
        template: Some(parse(TEMPLATE)),
        expects_pods: false,
        pods,
        replica_sets: vec![replica_set("old", 1), replica_set("new", 2)],
        claims: vec![claim("data", "ReadWriteOnce"), claim("config", "ReadWriteMany")],
    }
}

fn task(yaml_volumes: &str, yaml_mounts: &str) -> ResolvedTask {
    ResolvedTask {
        name: "logical-backup".to_owned(),
        singleton: false,
        paths: Vec::new(),
        image: "mover".to_owned(),
        command: Vec::new(),
        args: Vec::new(),
        working_dir: None,
        env: Vec::new(),
        env_from: Vec::new(),
        resources: None,
        security_context: None,
        lifecycle: None,
        liveness_probe: None,
        readiness_probe: None,
        volumes: parse(yaml_volumes),
        volume_mounts: parse(yaml_mounts),
        volume_devices: Vec::new(),
    }
}

fn workload_task() -> ResolvedTask {
    task("[{name: kubestash-tmp-volume, emptyDir: {}}]", "[{name: kubestash-tmp-volume, mountPath: /kubestash-tmp}]")
}

fn planned(verb: Verb, view: &TargetView, info: &str, paths: &[&str]) -> Result<ComponentPlan, WorkloadError> {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    plan(verb, view, &parse(info), &workload_task(), &paths).map(|mut plans| plans.remove(0))
}

fn mount_paths(plan: &ComponentPlan) -> Vec<&str> {
    plan.mounts.iter().map(|mount| mount.mount_path.as_str()).collect()
}

/// Specification §4.4: the paths of the workload, read-only, and nothing that the paths do not need.
#[test]
fn a_backup_mounts_what_its_paths_need() {
    let view = deployment(vec![pod("web-1", "new", "node-a", true)]);
    let plan = planned(Verb::Backup, &view, "{}", &["/source/data/www"]).unwrap();
    assert_eq!(plan.component, "dump");
    assert_eq!(mount_paths(&plan), ["/source/data", "/kubestash-tmp"]);
    assert_eq!(plan.mounts[0].read_only, Some(true));
    assert_eq!(plan.mounts[1].read_only, None);
    assert_eq!(plan.placement.node.as_deref(), Some("node-a"));
    assert_eq!(plan.placement.tolerations.len(), 1);

    let restore = planned(Verb::Restore, &view, "{}", &["/source/data", "/source/config"]).unwrap();
    assert_eq!(mount_paths(&restore), ["/source/data", "/source/config", "/kubestash-tmp"]);
    assert_eq!(restore.mounts[0].read_only, None);
}

#[test]
fn unnamed_paths_are_all_persistent_mounts() {
    let view = deployment(Vec::new());
    assert_eq!(mounted_paths(&view, &parse("{}")).unwrap(), ["/source/data", "/source/config", "/mirror"]);
    let plan = planned(Verb::Backup, &view, "{}", &["/mirror"]).unwrap();
    assert_eq!(plan.mounts[0].sub_path.as_deref(), Some("mirror"));
}

/// Specification §4.4: `targetVolumes` names the target's volumes and where to mount them.
#[test]
fn listed_mounts_replace_the_discovered_ones() {
    let view = deployment(Vec::new());
    let info = "{tasks: [{name: logical-backup, targetVolumes: {volumeMounts: [{name: data, mountPath: /elsewhere}]}}]}";
    let plan = planned(Verb::Backup, &view, info, &["/elsewhere"]).unwrap();
    assert_eq!(mount_paths(&plan), ["/elsewhere", "/kubestash-tmp"]);
    assert_eq!(planned(Verb::Backup, &view, info, &["/source/data"]).unwrap_err().reason(), "PathNotMounted");

    let unknown = "{tasks: [{targetVolumes: {volumeMounts: [{name: other, mountPath: /elsewhere}]}}]}";
    assert_eq!(planned(Verb::Backup, &view, unknown, &["/elsewhere"]).unwrap_err().reason(), "VolumeUnknown");
}

/// Architecture §3: block-mode claims, ReadWriteOncePod claims in use and paths on emptyDir are refused by name.
#[test]
fn what_cannot_be_backed_up_is_refused_by_name() {
    let running = || deployment(vec![pod("web-1", "new", "node-a", true)]);
    let refusal = |view: &TargetView, path: &str| planned(Verb::Backup, view, "{}", &[path]).unwrap_err();

    insta::assert_snapshot!(refusal(&running(), "/wrong/data"), @"path /wrong/data lies in no volume of Deployment demo/web, which mounts /source/data (volume data), /source/config (volume config), /mirror (volume data): correct addon.tasks[].params.paths or mount a volume there");
    insta::assert_snapshot!(refusal(&running(), "/scratch/cache"), @"path /scratch/cache of Deployment demo/web lies on emptyDir volume scratch, whose content ends with its pod: put it on a persistent volume or leave the path out");
    assert_eq!(refusal(&running(), "/source").reason(), "PathNotMounted");

    let mut block = running();
    block.claims[0].spec.as_mut().unwrap().volume_mode = Some("Block".to_owned());
    insta::assert_snapshot!(refusal(&block, "/source/data"), @"PersistentVolumeClaim demo/data is a block device (volumeMode Block), which has no files: use a claim with volumeMode Filesystem");

    let mut alone = running();
    alone.claims[0] = claim("data", "ReadWriteOncePod");
    insta::assert_snapshot!(refusal(&alone, "/source/data"), @"PersistentVolumeClaim demo/data is ReadWriteOncePod and pod web-1 uses it: scale the workload down or use a claim with ReadWriteOnce");
    alone.pods.clear();
    assert_eq!(planned(Verb::Backup, &alone, "{}", &["/source/data"]).unwrap().placement.node, None);

    let mut missing = running();
    missing.claims.clear();
    let error = refusal(&missing, "/source/data");
    assert_eq!((error.reason(), error.may_pass()), ("ClaimNotFound", true));
}

/// Specification §8 row 4 and architecture §3: the newest ReplicaSet's ready pod stands for the Deployment.
#[rstest]
#[case(vec![pod("a", "old", "n1", true), pod("b", "new", "n2", true)], Some("b"))]
#[case(vec![pod("a", "old", "n1", true), pod("b", "new", "n2", false)], Some("a"))]
#[case(vec![pod("a", "stranger", "n1", true)], None)]
#[case(vec![], None)]
fn the_right_pod_is_picked(#[case] pods: Vec<Pod>, #[case] expected: Option<&str>) {
    let view = deployment(pods);
    assert_eq!(view.live_pod().and_then(|pod| pod.metadata.name.as_deref()), expected);
}

/// Specification §4.5: an attached ReadWriteOnce claim ties the Job to its node, a shared one does not.
#[test]
fn attachment_decides_the_node() {
    let mut view = deployment(vec![pod("web-1", "new", "node-a", true)]);
    view.claims[0] = claim("data", "ReadWriteMany");
    assert_eq!(planned(Verb::Backup, &view, "{}", &["/source/data"]).unwrap().placement.node, None);

    // Scaled to zero, but another pod still holds the claim.
    let view = deployment(vec![pod("other", "stranger", "node-b", true)]);
    let plan = planned(Verb::Backup, &view, "{}", &["/source/data"]).unwrap();
    assert_eq!(plan.placement.node.as_deref(), Some("node-b"));

    let mut second = pod("other", "stranger", "node-b", true);
    second.spec.as_mut().unwrap().volumes = Some(parse("[{name: c, persistentVolumeClaim: {claimName: config}}]"));
    let mut apart = deployment(vec![pod("web-1", "new", "node-a", true), second]);
    apart.claims[1] = claim("config", "ReadWriteOnce");
    let error = planned(Verb::Backup, &apart, "{}", &["/source/data", "/source/config"]).unwrap_err();
    assert_eq!(error.reason(), "ClaimsOnDifferentNodes");
}

/// Architecture §3 step 13: the order in which an identity is looked for.
#[test]
fn identity_comes_from_the_first_that_says() {
    let user = |verb, view: &TargetView, info: &str, path: &str| {
        let identity = planned(verb, view, info, &[path]).unwrap().identity;
        (identity.pod.run_as_user.unwrap(), identity.pod.run_as_group, identity.source)
    };
    let mut view = deployment(vec![pod("web-1", "new", "node-a", true)]);
    assert_eq!(user(Verb::Backup, &view, "{}", "/source/data"), (1000, None, "the target's securityContext"));
    // The container that mounts the data decides, before its pod.
    assert_eq!(user(Verb::Backup, &view, "{}", "/mirror").0, 3000);
    let asked = "{jobTemplate: {spec: {securityContext: {runAsUser: 0, runAsGroup: 0}}}}";
    assert_eq!(user(Verb::Backup, &view, asked, "/source/data"), (0, Some(0), "the session's own settings"));

    // Scaled to zero, the template says the same as its pods did.
    assert_eq!(user(Verb::Backup, &deployment(Vec::new()), "{}", "/source/data").0, 1000);

    // Nothing declared: what the kubelet saw running, then the defaults.
    view.template.as_mut().unwrap().spec.as_mut().unwrap().security_context = None;
    view.pods[0].spec.as_mut().unwrap().security_context = None;
    assert_eq!(user(Verb::Backup, &view, "{}", "/source/data"), (65534, Some(65534), "the default for backups"));
    assert_eq!(user(Verb::Restore, &view, "{}", "/source/data"), (0, Some(0), "the default for restores"));
    view.pods[0].status.as_mut().unwrap().container_statuses = Some(parse(
        "[{name: app, image: app, imageID: x, ready: true, restartCount: 0, user: {linux: {uid: 101, gid: 102, supplementalGroups: [102, 7]}}}]",
    ));
    assert_eq!(user(Verb::Backup, &view, "{}", "/source/data"), (101, Some(102), "the target's running container"));
}

/// Architecture §3 step 13: a Job that is not root satisfies Pod Security `restricted`.
#[test]
fn identities_are_confined() {
    let view = deployment(vec![pod("web-1", "new", "node-a", true)]);
    let plain = planned(Verb::Backup, &view, "{}", &["/source/data"]).unwrap().identity;
    insta::assert_yaml_snapshot!("identity-of-a-user", (&plain.pod, &plain.container));
    let asked = "{jobTemplate: {spec: {securityContext: {runAsUser: 0}}}}";
    let root = planned(Verb::Restore, &view, asked, &["/source/data"]).unwrap().identity;
    insta::assert_yaml_snapshot!("identity-of-root", (&root.pod, &root.container));
}

/// Specification §4.4: `subPathExpr` is honoured where its value can be known.
#[test]
fn sub_path_expressions_are_expanded() {
    let mut view = deployment(vec![pod("web-1", "new", "node-a", true)]);
    let set = |view: &mut TargetView, expression: &str| {
        let spec = view.template.as_mut().unwrap().spec.as_mut().unwrap();
        spec.containers[0].volume_mounts.as_mut().unwrap()[0].sub_path_expr = Some(expression.to_owned());
    };
    set(&mut view, "$(TENANT)/$(POD)");
    let plan = planned(Verb::Backup, &view, "{}", &["/source/data"]).unwrap();
    assert_eq!(plan.mounts[0].sub_path.as_deref(), Some("red/web-1"));
    set(&mut view, "$(ELSEWHERE)");
    assert_eq!(planned(Verb::Backup, &view, "{}", &["/source/data"]).unwrap_err().reason(), "SubPathUnknown");
}

/// Specification §4.1: pvc-addon mounts the claim itself.
#[test]
fn a_claim_is_mounted_by_its_task() {
    let view = TargetView {
        kind: TargetKind::PersistentVolumeClaim,
        template: None,
        name: "data".to_owned(),
        pods: vec![pod("web-1", "new", "node-a", true)],
        ..deployment(Vec::new())
    };
    let task = task(
        "[{name: kubestash-data-volume, persistentVolumeClaim: {claimName: data}}, {name: kubestash-tmp-volume, emptyDir: {}}]",
        "[{name: kubestash-data-volume, mountPath: /kubestash-data}, {name: kubestash-tmp-volume, mountPath: /kubestash-tmp}]",
    );
    let plans = plan(Verb::Backup, &view, &parse("{}"), &task, &["/kubestash-data".to_owned()]).unwrap();
    assert_eq!(plans[0].mounts[0].read_only, Some(true));
    assert_eq!(plans[0].placement.node.as_deref(), Some("node-a"));
    let outside = plan(Verb::Restore, &view, &parse("{}"), &task, &["/source/data".to_owned()]).unwrap_err();
    assert_eq!(outside.reason(), "PathNotMounted");
}

#[rstest]
#[case("{kind: Deployment, name: web}", Ok(TargetKind::Deployment))]
#[case("{apiGroup: '', kind: Deployment, name: web, namespace: demo}", Ok(TargetKind::Deployment))]
#[case("{apiGroup: '', kind: PersistentVolumeClaim, name: data}", Ok(TargetKind::PersistentVolumeClaim))]
#[case("{apiGroup: apps, kind: StatefulSet, name: web}", Err("TargetNotSupported"))]
#[case("{apiGroup: apps, kind: DaemonSet, name: web}", Err("TargetNotSupported"))]
#[case("{apiGroup: apps, kind: Deployment, name: web, namespace: other}", Err("TargetInOtherNamespace"))]
#[case("{apiGroup: kubedb.com, kind: MySQL, name: db}", Err("TargetKindUnknown"))]
#[case("{name: ''}", Err("TargetNotNamed"))]
fn targets_are_told_apart(#[case] target: &str, #[case] expected: Result<TargetKind, &str>) {
    let answer = check_target(Some(&parse(target)), "demo").map_err(|error| error.reason());
    assert_eq!(answer, expected);
}

#[test]
fn host_namespaces_need_the_administrator() {
    let info: crd_types::AddonInfo = parse("{jobTemplate: {spec: {hostPID: true}}}");
    assert_eq!(check_template(&info, "demo", false).unwrap_err().reason(), "HostNamespacesRefused");
    check_template(&info, "demo", true).unwrap();
}
