"""Timelines, logs, watches and whole rounds of the cluster's benchmark, without a cluster."""

import io
import os
import tempfile
import time
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import cluster
import fake_cluster
import manifests
import processes
import report
import results
import watch
from fake_cluster import FakeCluster
from kube import Refused
from measure import Failed
from rows import CLUSTER_ROWS, OURS, RESTIC
from timeline import Log, Timeline, covered, read_log, steps, waits
from watch import Watch

UID = "orlop.dev/session-uid"


def session_at(phase, uid="s"):
    return {"metadata": {"name": "one", "uid": uid}, "status": {"phase": phase} if phase else {}}


def pod(uid="p", job="j", **more):
    metadata = {"namespace": "n", "name": f"pod-{uid}", "uid": uid, "labels": {UID: "s"}, "ownerReferences": [{"kind": "Job", "uid": job}]}
    return {"metadata": metadata, **more}


def job(uid="j"):
    return {"metadata": {"name": uid, "uid": uid, "labels": {UID: "s"}}}


BOUND = {"status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}}
RUNS = {"status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}}
ENDED = {"status": {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {}}}]}}


def seen(*events):
    timeline = Timeline()
    for at, kind, found in events:
        timeline.see(at, kind, found)
    return timeline, timeline.session("BackupSession", lambda _: True)


class Waits(unittest.TestCase):
    EVENTS = (
        (10.0, "BackupSession", session_at(None)), (10.5, "Job", job()), (10.6, "Pod", pod()), (10.7, "BackupSession", session_at("Running")),
        (10.8, "Pod", pod(**BOUND)), (13.0, "Pod", pod(**RUNS)), (20.0, "BackupSession", session_at("Succeeded")), (21.0, "Pod", pod(**ENDED)))

    def test_they_last_from_the_job_to_the_movers_first_word(self):
        timeline, session = seen(*self.EVENTS)
        logs = {"p": Log(started=12.25, attached=12.5, ended=19.5, peak=1)}
        self.assertEqual((session.created, session.final), (10.0, 20.0))
        self.assertEqual(waits(timeline, session, logs), 1.75)
        self.assertEqual(steps(timeline, session, 10.0, logs), {
            "job": 0.5, "pod": 0.6, "scheduled": 0.8, "started": 2.25, "attached": 2.5, "worked": 9.5, "final": 10.0})

    def test_without_a_log_the_kubelets_word_counts(self):
        timeline, session = seen(*self.EVENTS)
        self.assertEqual(waits(timeline, session, {}), 2.5)

    def test_a_step_counts_when_it_is_seen_first(self):
        timeline, session = seen(*self.EVENTS, *((at + 100, kind, found) for at, kind, found in self.EVENTS))
        self.assertEqual((session.created, session.final, timeline.pods["p"].ended), (10.0, 20.0, 21.0))

    def test_a_pod_that_never_ran_waited_to_the_end(self):
        timeline, session = seen(*self.EVENTS[:5], (15.0, "BackupSession", session_at("Failed")))
        self.assertEqual(waits(timeline, session, {}), 4.5)

    def test_pods_beside_each_other_wait_once_and_one_after_the_other_twice(self):
        self.assertEqual(covered([(3, 4), (1, 2), (1.5, 2.5)]), 2.5)
        self.assertEqual(covered([(1, 5), (2, 3)]), 4)
        self.assertEqual(covered([]), 0)

    def test_what_belongs_to_other_sessions_is_not_counted(self):
        other = pod(uid="q")
        other["metadata"]["labels"] = {UID: "another"}
        timeline, session = seen(*self.EVENTS, (11.0, "Pod", other), (11.0, "Pod", {"metadata": {"namespace": "n", "name": "app", "uid": "a"}}))
        self.assertEqual([found.uid for found in timeline.pods_of(session)], ["p"])
        self.assertEqual(set(timeline.pods), {"p", "q"})


class Logs(unittest.TestCase):
    LINES = (
        '2026-01-02T03:04:05.250000001Z stdout F {"timestamp":"x","message":"telemetry started"}',
        '2026-01-02T03:04:05.500000000Z stdout F {"message":"attached","targets":1}',
        '2026-01-02T04:04:09.750000000+01:00 stdout F {"message":"work ended","exit":"Done","peak_memory_bytes":94371840}',
        '2026-01-02T03:04:10.000000000Z stdout F {"message":"afterwards"}')
    EPOCH = 1767323045.0 - 100

    def test_times_are_those_of_the_monotonic_clock(self):
        log = read_log(self.LINES, self.EPOCH)
        self.assertEqual((log.started, log.attached, log.ended, log.peak), (100.25, 100.5, 104.75, 90 << 20))

    def test_text_is_read_as_well_and_nonsense_is_passed_over(self):
        log = read_log(["not a line", "", "2026-01-02T03:04:06Z stdout F  INFO mover: work ended exit=Done peak_memory_bytes=123"], self.EPOCH)
        self.assertEqual((log.started, log.ended, log.peak), (101.0, 101.0, 123))
        self.assertEqual(read_log([], self.EPOCH), Log())


class Watching(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.fake = FakeCluster(scratch.name)
        self.fake.__enter__()
        self.addCleanup(self.fake.__exit__)
        self.seen = []

    def follow(self):
        return Watch(self.fake.kube, "n", ("Job",), lambda at, kind, found: self.seen.append((found["metadata"]["name"], at)))

    def put(self, name):
        self.fake.put("Job", manifests.named("batch/v1", "Job", "n", name))

    def test_what_is_there_and_what_comes_is_told_at_once(self):
        self.put("before")
        with self.follow() as following:
            made = time.monotonic()
            self.put("after")
            following.until(lambda: len(self.seen) == 2, 10, "both")
        self.assertEqual([name for name, _ in self.seen], ["before", "after"])
        self.assertLess(self.seen[1][1] - made, 0.5)

    def test_a_watch_that_is_cut_goes_on_where_it_was(self):
        self.fake.cuts = True
        with self.follow() as following:
            for name in "abc":
                self.put(name)
            following.until(lambda: len(self.seen) == 3, 10, "all")
        self.assertEqual([name for name, _ in self.seen], ["a", "b", "c"])

    def test_leaving_does_not_wait_for_an_event(self):
        with self.follow():
            left = time.monotonic()
        self.assertLess(time.monotonic() - left, 2)

    def test_what_cannot_be_watched_is_named(self):
        self.fake.refused["GET", "Job"] = (403, {"message": "jobs is forbidden"})
        with mock.patch.multiple(watch, MOST_FAILURES=2, PAUSE=0.01), self.assertRaisesRegex(Failed, "Job: .*jobs is forbidden"):
            self.follow().__enter__()

    def test_waiting_in_vain_says_for_what(self):
        with self.follow() as following, self.assertRaisesRegex(Failed, "in vain for a miracle in namespace n"):
            following.until(lambda: False, 0.05, "a miracle")

    def test_answers_that_are_no(self):
        kube = self.fake.kube
        self.assertIsNone(kube.get("Job", "n", "nothing"))
        kube.delete("Job", "n", "nothing")
        self.fake.refused["POST", "Job"] = (422, {"message": "it is invalid"})
        with self.assertRaisesRegex(Refused, "POST .*/namespaces/n/jobs: 422 it is invalid"):
            kube.create(manifests.named("batch/v1", "Job", "n", "one"))
        with self.assertRaisesRegex(Failed, "in vain for its birth: Job n/nothing is not there"):
            kube.until("Job", "n", "nothing", 0, "its birth", lambda found: found)


class Processes(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    def test_cpu_is_read_from_either_kind_of_cgroup_and_outlives_it(self):
        for name, unit, text in (("cpuacct.usage", 1e9, "1500000000\n"), ("cpu.stat", 1e6, "usage_usec 1500000\nuser_usec 1\n")):
            root = self.scratch / name
            folder = root / "orlop-node1" / "kubepods" / "burstable" / "podp"
            folder.mkdir(parents=True)
            meter = processes.CpuMeter(lambda: ["p", "elsewhere"], [(str(root), name, unit)])
            meter.sample()
            self.assertEqual(meter.seconds, 0)
            (folder / name).write_text(text)
            meter.sample()
            (folder / name).unlink()
            meter.sample()
            self.assertEqual(meter.seconds, 1.5)

    def process(self, pid, uid, name, resident):
        folder = self.scratch / str(pid)
        folder.mkdir()
        (folder / "cgroup").write_text(f"3:memory:/orlop-node1/kubepods/burstable/pod{uid}/c\n")
        (folder / "status").write_text(f"Name:\t{name}\nVmHWM:\t   99999 kB\nVmRSS:\t    {resident} kB\n")

    def test_memory_of_leaders_and_standbys_is_told_apart(self):
        (self.scratch / "self").mkdir()
        for pid, uid, name, size in ((1, "a-1", "scheduler", 10), (2, "a-1", "pause", 500), (3, "a-2", "scheduler", 7), (4, "other", "bash", 300)):
            self.process(pid, uid, name, size)
        pods = [{"metadata": {"name": f"orlop-scheduler-{uid}", "uid": uid}} for uid in ("a-1", "a-2")]
        api = mock.Mock()
        api.list.return_value = {"items": [*pods, {"metadata": {"name": "goes", "uid": "g", "deletionTimestamp": "now"}}]}
        api.get.return_value = {"spec": {"holderIdentity": "orlop-scheduler-a-1_xyz"}}
        self.assertEqual(processes.memory_of_services(api, "s", ["scheduler"], self.scratch), (10 << 10, 7 << 10))
        api.get.return_value = {"spec": {"holderIdentity": ""}}
        with self.assertRaisesRegex(Failed, "names no leader"):
            processes.memory_of_services(api, "s", ["scheduler"], self.scratch)


RESTIC_SCRIPT = """#!/bin/sh
set -e
operation=$1
if [ "$operation" = version ]; then echo "restic 0 of a test"; exit; fi
shift
while [ $# -gt 0 ]; do
  case $1 in
    -r) folder=$FAKE_ROOT/${2##*/bench/}; shift ;;
    --target) target=$2; shift ;;
    -*) ;;
    *) path=$1 ;;
  esac
  shift
done
case $operation in
  init) mkdir -p "$folder" ;;
  backup) mkdir -p "$folder/data$path" && cp -a "$path/." "$folder/data$path" ;;
  restore) cp -a "$folder/data/." "$target" ;;
  check) test -d "$folder" ;;
esac
"""


class Rounds(unittest.TestCase):
    """The whole benchmark on the cluster that is none."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.state, self.work = self.scratch / "state", self.scratch / "work"
        for folder in (self.state / "pid", self.work):
            folder.mkdir(parents=True)
        (self.state / "pid" / "versitygw").write_text(str(os.getpid()))
        self.restic = self.scratch / "restic"
        self.restic.write_text(RESTIC_SCRIPT)
        self.restic.chmod(0o755)
        self.fake = FakeCluster(self.state)
        self.fake.__enter__()
        self.addCleanup(self.fake.__exit__)

    def measure(self, *words):
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "FAKE_ROOT": str(self.state / "s3" / "data" / "bench")}
        words = ["--work", str(self.work), "--state", str(self.state), "--endpoint", "http://127.0.0.1:1", "--restic", str(self.restic), "--ours", str(self.restic), *words]
        with (
            mock.patch.dict(os.environ, keys),
            mock.patch.object(cluster.kube, "of_kubeconfig", lambda: self.fake.kube),
            mock.patch.object(cluster, "REST_SECONDS", 0),
            mock.patch.object(processes, "memory_of_services", side_effect=[(40 << 20, 1), (50 << 20, 2)]),
            # Of a busy machine's own disk.
            mock.patch.object(os, "sync"),
            redirect_stdout(io.StringIO()),
        ):
            return cluster.measure_all(cluster.arguments_of(words))

    def test_every_row_is_measured_by_both_and_nothing_is_left(self):
        result, whole = self.measure("--scale", "0.0005", "--rounds", "1")
        self.assertFalse(whole)
        self.assertEqual(len(result["runs"]), len(CLUSTER_ROWS) * 2)
        self.assertEqual(results.shortcomings(result)[0], "the data was scaled down")
        ours = [run for run in result["runs"] if run["tool"] == OURS]
        for one in ours:
            self.assertGreaterEqual(one["wall"], fake_cluster.RUNNING_SECONDS)
            # The Job may be seen a little late.
            self.assertGreaterEqual(one["waits"], fake_cluster.RUNNING_SECONDS * 0.6)
            self.assertLess(one["waits"], one["wall"])
            self.assertEqual(one["peak_rss"], fake_cluster.PEAK)
            self.assertEqual(list(one["steps"]), ["job", "pod", "scheduled", "started", "attached", "worked", "final"])
            self.assertGreater(one["repository_bytes"], 0 if one["data"] != "empty" else -1)
        self.assertEqual(result["facts"], {"memory_at_rest": 50 << 20, "memory_of_standbys": 2})
        self.assertIn("The CPU time of a session (text, first) is not known", result["notes"])
        page = report.render([result])
        self.assertIn("| empty, a session with nothing to do |", page)
        self.assertIn("at rest take 50 MiB", page)
        left = {kind for kind, space, name in self.fake.objects}
        self.assertEqual(left, set())
        self.assertEqual(sorted(entry.name for entry in self.work.iterdir() if entry.is_dir()), ["data"])
        self.assertFalse((self.state / "s3" / "data" / "bench").exists())

    def test_who_goes_first_changes(self):
        result, _ = self.measure("--data", "empty", "--rounds", "2")
        self.assertEqual([run["tool"] for run in result["runs"]], [OURS, RESTIC, RESTIC, OURS])

    def test_a_session_that_fails_ends_it_with_its_words(self):
        self.fake.phase = "Failed"
        with self.assertRaises(Failed) as raised:
            self.measure("--data", "empty", "--rounds", "1")
        for part in ("BackupSession bench-empty-orlop-1/initial is in phase Failed", "pod initial-pod said last:", "work ended"):
            self.assertIn(part, str(raised.exception))
        self.assertEqual(self.fake.objects, {})

    def test_where_it_may_be_looked_at_a_failure_stays(self):
        self.fake.phase = "Failed"
        with mock.patch.dict(os.environ, {"KEEP": "1"}), redirect_stderr(io.StringIO()) as said, self.assertRaises(Failed):
            self.measure("--data", "empty", "--rounds", "1")
        self.assertIn("namespace bench-empty-orlop-1 is left as it is", said.getvalue())
        self.assertIn(("Namespace", "", "bench-empty-orlop-1"), self.fake.objects)

    def test_a_tree_that_comes_back_wrong_is_no_run(self):
        move = self.fake.move

        def damage(kind, space):
            move(kind, space)
            if kind == "RestoreSession":
                next(path for path in (self.work / "restored").rglob("*.log")).write_text("wrong")

        with mock.patch.object(self.fake, "move", damage), self.assertRaisesRegex(Failed, "differs from"):
            self.measure("--data", "text", "--scale", "0.0005", "--rounds", "1")

    def test_a_cluster_that_is_not_there_is_said_so(self):
        (self.state / "pid" / "versitygw").unlink()
        with self.assertRaisesRegex(Failed, "versitygw of the cluster does not run .*up.sh"):
            self.measure("--data", "empty")


if __name__ == "__main__":
    unittest.main()
