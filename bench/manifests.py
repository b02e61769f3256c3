"""The objects of a measured workload: as somebody who starts with Orlop would write them."""

GROUP = "kubestash.com"
SCHEDULE = "0 0 29 2 *"
IMAGE = "orlop.local/busybox:e2e"
# Both nodes are this machine; on one of them everything is measured, as far as it depends on a volume.
NODE = "node1"
SOURCE, RESTORED = "source", "restored"
STORAGE, CREDENTIALS, PASSWORD, RETENTION = "storage", "s3-credentials", "repository-password", "retention"
CONFIGURATION, SESSION, REPOSITORY, COMPONENT, DIRECTORY = "backup", "full", "repository", "dump", "app"
# Where restic finds the repository below the storage's prefix.
REPOSITORY_PATH = f"{DIRECTORY}/{REPOSITORY}/v1/{SESSION}/{COMPONENT}"


def named(api_version, kind, namespace, name, **more):
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **where}, **more}


def namespace(name):
    return named("v1", "Namespace", "", name)


def secret(space, name, values):
    return named("v1", "Secret", space, name, stringData=values)


def volume_name(space, claim):
    return f"{space}-{claim}"


def volume(space, claim, folder):
    """A folder of the node. Its capacity is a word; nobody enforces it."""
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return named("v1", "PersistentVolume", "", volume_name(space, claim), spec={
        "capacity": {"storage": "8Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "bench",
        "claimRef": {"namespace": space, "name": claim}, "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}}})


def claim(space, name):
    return named("v1", "PersistentVolumeClaim", space, name, spec={
        "accessModes": ["ReadWriteOnce"], "storageClassName": "bench", "volumeName": volume_name(space, name), "resources": {"requests": {"storage": "8Gi"}}})


def workload(space, name):
    """One pod that does nothing and mounts the claim of its name."""
    container = {
        "name": "app", "image": IMAGE, "imagePullPolicy": "Never", "command": ["/bin/sleep", "1000000"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}
    return named("apps/v1", "Deployment", space, name, spec={
        "replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod}})


def storage(space, endpoint, bucket, prefix):
    s3 = {"endpoint": endpoint, "bucket": bucket, "region": "us-east-1", "prefix": prefix, "secretName": CREDENTIALS}
    return named(f"storage.{GROUP}/v1alpha1", "BackupStorage", space, STORAGE, spec={"storage": {"provider": "s3", "s3": s3}})


def retention(space):
    """More than is ever made, so that nothing is removed while it is measured."""
    return named(f"storage.{GROUP}/v1alpha1", "RetentionPolicy", space, RETENTION, spec={"maxRetentionPeriod": "2mo", "successfulSnapshots": {"last": 100}})


def target(space, name):
    return {"apiGroup": "apps", "kind": "Deployment", "name": name, "namespace": space}


def configuration(space):
    """Its schedule never comes due: what is measured is started on purpose."""
    session = {
        "name": SESSION, "scheduler": {"schedule": SCHEDULE, "jobTemplate": {"backoffLimit": 1}}, "sessionHistoryLimit": 100,
        "repositories": [{"name": REPOSITORY, "backend": "backend", "directory": f"/{DIRECTORY}", "encryptionSecret": {"name": PASSWORD, "namespace": space}}],
        "addon": {"name": "workload-addon", "tasks": [{"name": "logical-backup", "params": {"paths": "/data"}}]}}
    backend = {"name": "backend", "storageRef": {"name": STORAGE, "namespace": space}, "retentionPolicy": {"name": RETENTION, "namespace": space}}
    return named(f"core.{GROUP}/v1alpha1", "BackupConfiguration", space, CONFIGURATION, spec={
        "target": target(space, SOURCE), "backends": [backend], "sessions": [session]})


def backup_session(space, name, configuration_uid):
    """As the scheduler makes it."""
    owner = {
        "apiVersion": f"core.{GROUP}/v1alpha1", "kind": "BackupConfiguration", "name": CONFIGURATION, "uid": configuration_uid, "controller": True, "blockOwnerDeletion": True}
    labels = {
        "app.kubernetes.io/managed-by": GROUP, f"{GROUP}/invoker-name": CONFIGURATION, f"{GROUP}/invoker-namespace": space,
        f"{GROUP}/invoker-kind": "BackupConfiguration", f"{GROUP}/session-name": SESSION}
    session = named(f"core.{GROUP}/v1alpha1", "BackupSession", space, name, spec={
        "invoker": {"apiGroup": f"core.{GROUP}", "kind": "BackupConfiguration", "name": CONFIGURATION}, "session": SESSION, "retryLeft": 0})
    session["metadata"].update(labels=labels, annotations={"orlop.dev/triggered-by": "manual"}, ownerReferences=[owner])
    return session


def restore_session(space, name, snapshot):
    source = {"repository": REPOSITORY, "snapshot": snapshot, "encryptionSecret": {"name": PASSWORD, "namespace": space}}
    return named(f"core.{GROUP}/v1alpha1", "RestoreSession", space, name, spec={
        "target": target(space, RESTORED), "dataSource": source, "addon": {"name": "workload-addon", "tasks": [{"name": "logical-backup-restore"}]}})
