"""Processes and logs of pods, seen from the machine that hosts the nodes: both share its kernel and its folders."""

import glob
import os
import threading
import time
from pathlib import Path

import timeline
from measure import Failed

# Where a pod's CPU time is accounted: cgroup v1 under either name, v2, and which file says it in what unit.
ACCOUNTS = (
    ("/sys/fs/cgroup/cpuacct", "cpuacct.usage", 1e9),
    ("/sys/fs/cgroup/cpu,cpuacct", "cpuacct.usage", 1e9),
    ("/sys/fs/cgroup", "cpu.stat", 1e6),
)
# Of the sampler: what a pod computes after the last sample is lost with its cgroup.
SAMPLE_SECONDS = 0.1
# The mover's last line is written before it reports; the container runtime may pass it on a little later.
LOG_SECONDS = 5
HOLDER = "pause"


class CpuMeter:
    """Seconds that pods computed, all their processes together: sampled, because the kubelet removes the account with the pod."""

    def __init__(self, pods, accounts=ACCOUNTS):
        # Says the UIDs of the pods, whenever it is asked.
        self.pods, self.accounts = pods, accounts
        self.places, self.used = {}, {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(5)

    @property
    def seconds(self):
        return sum(self.used.values())

    def _sample(self):
        while not self.stopping.wait(SAMPLE_SECONDS):
            self.sample()
        self.sample()

    def sample(self):
        for uid in self.pods():
            place = self.places.get(uid) or self._find(uid)
            if not place:
                continue
            self.places[uid] = place
            path, unit = place
            try:
                self.used[uid] = max(self.used.get(uid, 0.0), usage_of(Path(path).read_text()) / unit)
            except (OSError, ValueError):
                # The pod has ended; the last sample stands.
                pass

    def _find(self, uid):
        for root, name, unit in self.accounts:
            # Pods of the best class have no folder of their class.
            for pattern in (f"{root}/orlop-*/kubepods/*/pod{uid}/{name}", f"{root}/orlop-*/kubepods/pod{uid}/{name}"):
                if found := glob.glob(pattern):
                    return found[0], unit
        return None


def usage_of(text):
    """A bare number, or the one that cgroup v2 calls usage_usec."""
    words = text.split()
    return int(words[words.index("usage_usec") + 1] if "usage_usec" in words else words[0])


def log_of(state, pod):
    """The Log of a pod's mover, where its node keeps it; an empty one where there is none."""
    epoch, deadline = monotonic_epoch(), time.monotonic() + LOG_SECONDS
    while True:
        log = timeline.read_log(log_lines(state, pod), epoch)
        if log.peak or time.monotonic() > deadline:
            return log
        time.sleep(0.1)


def monotonic_epoch():
    """The time of day at which the monotonic clock was at zero. Of several looks at both the one that was disturbed least."""
    looks = [(time.monotonic(), time.time(), time.monotonic()) for _ in range(10)]
    before, now, after = min(looks, key=lambda look: look[2] - look[0])
    return now - (before + after) / 2


def log_lines(state, pod):
    lines = []
    for path in sorted(Path(state).glob(f"*/pod-logs/{pod.namespace}_{pod.name}_{pod.uid}/*/*.log")):
        lines += path.read_text(errors="replace").splitlines()
    return lines


def resident(uids, root="/proc"):
    """{UID: bytes} of resident memory of all processes of these pods but the one that holds the pod's namespaces."""
    found = dict.fromkeys(uids, 0)
    for process in (entry for entry in Path(root).iterdir() if entry.name.isdigit()):
        try:
            cgroup = (process / "cgroup").read_text()
            uid = next((uid for uid in found if f"pod{uid}" in cgroup), None)
            if uid is None:
                continue
            fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
        except (OSError, ValueError):
            # It ended meanwhile.
            continue
        if fields["Name"].strip() != HOLDER and "VmRSS" in fields:
            found[uid] += int(fields["VmRSS"].split()[0]) << 10
    return found


def memory_of_services(kube, namespace, services, root="/proc"):
    """Bytes of the services' leaders together, and of their standbys together."""
    listed = kube.list("Pod", namespace, "app.kubernetes.io/part-of=orlop")["items"]
    pods = [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]
    holders = []
    for service in services:
        lease = kube.get("Lease", namespace, f"orlop-{service}")
        holder = (lease or {}).get("spec", {}).get("holderIdentity")
        if not holder:
            raise Failed(f"Lease {namespace}/orlop-{service} names no leader: see the logs of its pods")
        holders.append(holder)
    leads = {pod["metadata"]["uid"]: any(holder.startswith(pod["metadata"]["name"]) for holder in holders) for pod in pods}
    memory = resident(leads, root)
    missing = [pod["metadata"]["name"] for pod in pods if not memory[pod["metadata"]["uid"]]]
    if missing or sum(leads.values()) != len(services):
        raise Failed(
            f"of the services' pods in {namespace} {sum(leads.values())} lead, which should be {len(services)}, and no process was found of {missing}: "
            "the benchmark reads their memory from /proc, as root on the machine that hosts the nodes")
    leading = sum(size for uid, size in memory.items() if leads[uid])
    return leading, sum(memory.values()) - leading


def pid_of_program(state, name):
    """Of one of the cluster's own programs, as its start script noted it; it must still be that program."""
    path = Path(state) / "pid" / name
    try:
        pid = int(path.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError) as error:
        raise Failed(f"{name} of the cluster does not run by {path}: {error}: bring it up with e2e/cluster/up.sh") from error
    return pid
