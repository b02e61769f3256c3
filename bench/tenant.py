"""One data set in one round on the cluster: a namespace with a workload to back up, one to restore into, and a repository of its own."""

import shutil
import sys
import time
from dataclasses import dataclass

import manifests
import processes
import timeline
from kube import short_status
from measure import Failed
from stores import Repository
from timeline import SESSION_KINDS, Timeline
from tools import PASSWORD
from watch import Watch

READY_SECONDS, GONE_SECONDS, SESSION_SECONDS = 120, 180, 3600
# A mover that has reported is on its way out; nothing else may be measured beside it.
ENDED_SECONDS = 60
SUCCEEDED = "Succeeded"


@dataclass
class Measured:
    """A session that succeeded."""

    # Seconds from its creation to its final phase, and those of them that were the scheduler's and the kubelet's.
    wall: float
    waits: float
    # Seconds of all cores, and bytes; 0 where it is not known.
    cpu: float
    peak_rss: int
    steps: dict
    object: dict


class Tenant:
    """Between `prepare` and `remove` everything is there and Ready."""

    def __init__(self, kube, state, store, name, source, restored):
        self.kube, self.state, self.store, self.name = kube, state, store, name
        # Folders of this machine behind the volumes of both workloads.
        self.source, self.restored = source, restored
        self.namespace = f"bench-{name}"
        self.timeline, self.watch = Timeline(), None
        self.count, self.snapshot = 0, None

    @property
    def repository(self):
        """Where restic finds what Orlop stores."""
        whole = self.store.repository(self.name)
        prefix, path = whole.prefix, manifests.REPOSITORY_PATH
        return Repository(f"{whole.url}/{path}", whole.folder / path, False, whole.endpoint, whole.bucket, f"{prefix}/{path}")

    def prepare(self):
        """Workloads, storage and retention policy, all Ready; not the BackupConfiguration, whose first session begins at once."""
        self.remove()
        shutil.rmtree(self.restored, ignore_errors=True)
        self.restored.mkdir(parents=True)
        space = self.namespace
        self.kube.apply(manifests.namespace(space))
        keys = self.store.environment()
        self.kube.apply(manifests.secret(space, manifests.CREDENTIALS, {name: keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}))
        self.kube.apply(manifests.secret(space, manifests.PASSWORD, {"RESTIC_PASSWORD": PASSWORD}))
        folders = {manifests.SOURCE: self.source, manifests.RESTORED: self.restored}
        for claim, folder in folders.items():
            for manifest in (manifests.volume(space, claim, folder), manifests.claim(space, claim), manifests.workload(space, claim)):
                self.kube.apply(manifest)
        whole = self.store.repository(self.name)
        self.kube.apply(manifests.storage(space, whole.endpoint, whole.bucket, whole.prefix))
        self.kube.apply(manifests.retention(space))
        for name in folders:
            self.kube.until("Deployment", space, name, READY_SECONDS, "the workload's pod", lambda found: (found or {}).get("status", {}).get("readyReplicas") == 1)
        self.await_ready("BackupStorage", manifests.STORAGE)
        self.watch = Watch(self.kube, space, (*SESSION_KINDS, "Job", "Pod"), self.timeline.see)
        self.watch.__enter__()

    def await_ready(self, kind, name):
        return self.kube.until(kind, self.namespace, name, READY_SECONDS, "phase Ready", lambda found: (found or {}).get("status", {}).get("phase") == "Ready")

    def first(self):
        """The initial session, which begins when the BackupConfiguration is Ready, and makes the repository too."""
        self.kube.apply(manifests.configuration(self.namespace))
        try:
            began = self.watch.until(
                lambda: self.timeline.session("BackupSession", timeline.is_initial), READY_SECONDS, "the initial BackupSession").created
        except Failed as error:
            found = self.kube.get("BackupConfiguration", self.namespace, manifests.CONFIGURATION)
            raise Failed(f"{error}: BackupConfiguration {self.namespace}/{manifests.CONFIGURATION} is {short_status(found)}") from error
        return self.backed_up(timeline.is_initial, began)

    def back_up(self):
        configuration = self.await_ready("BackupConfiguration", manifests.CONFIGURATION)
        self.count += 1
        name = f"again-{self.count}"
        began = time.monotonic()
        self.kube.create(manifests.backup_session(self.namespace, name, configuration["metadata"]["uid"]))
        return self.backed_up(lambda session: session["metadata"]["name"] == name, began)

    def backed_up(self, is_it, began):
        measured = self.follow("BackupSession", is_it, began)
        snapshots = measured.object["status"].get("snapshots") or []
        if not snapshots:
            raise Failed(f"BackupSession {self.namespace}/{measured.object['metadata']['name']} succeeded and names no Snapshot")
        self.snapshot = snapshots[0]["name"]
        return measured

    def restore(self):
        """The latest Snapshot into the other workload's volume, which is empty."""
        if any(self.restored.iterdir()):
            raise Failed(f"{self.restored} is not empty: a restore into it would be none")
        began = time.monotonic()
        self.kube.create(manifests.restore_session(self.namespace, "restore", self.snapshot))
        return self.follow("RestoreSession", lambda session: session["metadata"]["name"] == "restore", began)

    def follow(self, kind, is_it, began):
        """To its end, and its movers' too."""
        def ended():
            session = self.timeline.session(kind, is_it)
            return session if session and session.final else None

        def uids():
            session = self.timeline.session(kind, is_it)
            return [pod.uid for pod in self.timeline.pods_of(session)] if session else []

        with processes.CpuMeter(uids) as meter:
            try:
                session = self.watch.until(ended, SESSION_SECONDS, f"the end of {kind}")
            except Failed as error:
                raise Failed(f"{error}: {self.told_of(self.timeline.session(kind, is_it))}") from error
        pods = self.timeline.pods_of(session)
        self.watch.until(lambda: all(pod.ended for pod in self.timeline.pods_of(session)), ENDED_SECONDS, f"the end of {', '.join(pod.name for pod in pods)}")
        if session.phase != SUCCEEDED:
            raise Failed(self.told_of(session))
        logs = {pod.uid: processes.log_of(self.state, pod) for pod in pods}
        return Measured(
            wall=session.final - began, waits=timeline.waits(self.timeline, session, logs), cpu=meter.seconds,
            peak_rss=max((log.peak for log in logs.values()), default=0), steps=timeline.steps(self.timeline, session, began, logs), object=session.object)

    def told_of(self, session):
        """What a failure should say: the session, and the last words of its movers."""
        if session is None:
            return f"there is no such session in {self.namespace}: see the logs of the scheduler"
        lines = [f"{session.kind} {self.namespace}/{session.name} is {short_status(session.object)}"]
        for pod in self.timeline.pods_of(session):
            lines += [f"pod {pod.name} said last:", *processes.log_lines(self.state, pod)[-5:]]
        return "\n".join(lines)

    def stop_watching(self):
        if self.watch:
            self.watch.__exit__()
            self.watch = None

    def remove(self):
        """Namespace and volumes, and then what Orlop stored."""
        self.stop_watching()
        self.kube.delete("Namespace", "", self.namespace)
        what = "its end; 'kubectl get namespace -o yaml' says which finalizers hold it"
        self.kube.until("Namespace", "", self.namespace, GONE_SECONDS, what, lambda found: found is None)
        for claim in (manifests.SOURCE, manifests.RESTORED):
            self.kube.delete("PersistentVolume", "", manifests.volume_name(self.namespace, claim))
            self.kube.until("PersistentVolume", "", manifests.volume_name(self.namespace, claim), GONE_SECONDS, "its end", lambda found: found is None)
        self.store.repository(self.name).remove()

    def remove_if_possible(self):
        """At the end of a round, which may be that of a failure; the next one says so if it is in its way."""
        try:
            self.remove()
        except Failed as error:
            print(f"warning: {error}", file=sys.stderr)
