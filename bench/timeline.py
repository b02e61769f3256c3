"""When what happened in a session: from events with their times, and from the log of its movers.

The API server's own times have whole seconds only. Here every time is that of this machine's monotonic clock at the moment
at which an event was seen; what movers log bears the time at which the container runtime of this same machine received it.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime

SESSION_KINDS = ("BackupSession", "RestoreSession")
FINAL = {"Succeeded", "Failed", "Skipped", "Invalid"}
SESSION_UID = "orlop.dev/session-uid"
TRIGGERED_BY = "orlop.dev/triggered-by"
PEAK = re.compile(r"\bpeak_memory_bytes\\?\"?\s*[=:]\s*(\d+)")


@dataclass
class Session:
    kind: str
    name: str
    uid: str
    created: float
    # As it was seen last.
    object: dict
    # When it was first seen in each phase.
    phases: dict = field(default_factory=dict)

    @property
    def phase(self):
        return self.object.get("status", {}).get("phase")

    @property
    def final(self):
        """When it had ended; None before."""
        return next((at for phase, at in self.phases.items() if phase in FINAL), None)


@dataclass
class Pod:
    namespace: str
    name: str
    uid: str
    session: str
    # UID of the Job that made it.
    job: str
    created: float
    scheduled: float | None = None
    # When the kubelet said so, which is up to a second or two later than it was.
    running: float | None = None
    ended: float | None = None


@dataclass
class Log:
    """What a mover's log says: its first line, when it was told what to do, when the work had ended, and its peak memory."""

    started: float | None = None
    attached: float | None = None
    ended: float | None = None
    peak: int = 0


class Timeline:
    """Everything seen in one namespace; a `see` for a Watch. Of each step the first time counts, so it may be told twice."""

    def __init__(self):
        self.sessions, self.jobs, self.pods = {}, {}, {}

    def see(self, at, kind, seen):
        metadata = seen["metadata"]
        uid, labels = metadata["uid"], metadata.get("labels") or {}
        if kind in SESSION_KINDS:
            session = self.sessions.setdefault(uid, Session(kind, metadata["name"], uid, at, seen))
            session.object = seen
            if session.phase:
                session.phases.setdefault(session.phase, at)
        elif SESSION_UID in labels and kind == "Job":
            self.jobs.setdefault(uid, at)
        elif SESSION_UID in labels and kind == "Pod":
            self._see_pod(at, uid, labels[SESSION_UID], seen)

    def _see_pod(self, at, uid, session, seen):
        metadata, status = seen["metadata"], seen.get("status", {})
        job = next((owner["uid"] for owner in metadata.get("ownerReferences") or [] if owner["kind"] == "Job"), "")
        pod = self.pods.setdefault(uid, Pod(metadata["namespace"], metadata["name"], uid, session, job, at))
        states = [container.get("state") or {} for container in status.get("containerStatuses") or []]
        bound = any(one["type"] == "PodScheduled" and one["status"] == "True" for one in status.get("conditions") or [])
        if pod.scheduled is None and (bound or seen.get("spec", {}).get("nodeName")):
            pod.scheduled = at
        if pod.running is None and any("running" in state or "terminated" in state for state in states):
            pod.running = at
        if pod.ended is None and (status.get("phase") in ("Succeeded", "Failed") or (states and all("terminated" in state for state in states))):
            pod.ended = at

    def session(self, kind, holds):
        """The one session of that kind for which `holds`; None if there is none yet."""
        return next((one for one in list(self.sessions.values()) if one.kind == kind and holds(one.object)), None)

    def pods_of(self, session):
        """In the order in which they came. Others may come while this is asked."""
        return sorted((pod for pod in list(self.pods.values()) if pod.session == session.uid), key=lambda pod: pod.created)

    def begun(self, pod):
        """When Kubernetes was asked for it: its Job was made."""
        return min(pod.created, self.jobs.get(pod.job, pod.created))


def started(pod, log):
    """When its program ran: by its own first word, which comes within milliseconds, else by the kubelet's late one."""
    return log.started if log.started is not None else pod.running


def waits(timeline, session, logs):
    """Seconds of the session in which a pod had been asked for and did not run yet: Job controller, scheduler and kubelet."""
    intervals = []
    for pod in timeline.pods_of(session):
        at = started(pod, logs.get(pod.uid, Log()))
        intervals.append((timeline.begun(pod), session.final if at is None else min(at, session.final)))
    return covered(intervals)


def covered(intervals):
    """Length of the union."""
    whole, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        whole += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return whole


def steps(timeline, session, began, logs):
    """Seconds from the beginning to each step of the first pod, and to the end: for who looks for where the time went."""
    found = {}
    for pod in timeline.pods_of(session)[:1]:
        log = logs.get(pod.uid, Log())
        found = {"job": timeline.begun(pod), "pod": pod.created, "scheduled": pod.scheduled, "started": started(pod, log), "attached": log.attached, "worked": log.ended}
    found["final"] = session.final
    return {step: round(at - began, 3) for step, at in found.items() if at is not None}


def read_log(lines, epoch):
    """A Log out of a container runtime's lines: time, stream, whether the line is whole, what was said. `epoch` is the time of
    day at which the monotonic clock was at zero."""
    log = Log()
    for line in lines:
        stamp, _, rest = line.partition(" ")
        try:
            at = datetime.fromisoformat(stamp).timestamp() - epoch
        except ValueError:
            continue
        message = message_of(rest.split(" ", 2)[-1])
        if log.started is None:
            log.started = at
        if log.attached is None and message == "attached":
            log.attached = at
        if peak := PEAK.search(rest):
            log.ended, log.peak = at, int(peak[1])
    return log


def message_of(said):
    try:
        return json.loads(said).get("message")
    except (ValueError, AttributeError):
        return None


def is_initial(session):
    return (session["metadata"].get("annotations") or {}).get(TRIGGERED_BY) == "initial"
