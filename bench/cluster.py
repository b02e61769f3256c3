#!/usr/bin/env python3
"""Measures sessions on a cluster beside stock restic on the host, with the same data and the same S3 server.

A run of Orlop's is a BackupSession or a RestoreSession, from its creation to its final phase as a watch sees it; one of
restic's is what bench/run.py makes of it. Rounds, turns, comparison and checks are those of bench/run.py. Called by
bench/cluster.sh, which brings the cluster up.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import kube
import measure
import processes
import report
import results
import run
from measure import Failed
from rows import CLUSTER_ROWS, OURS
from stores import BUCKET, Local, Repository
from tenant import Tenant
from tools import DataMover, Judge, Restic, find

STORE = "cluster"
SYSTEM_NAMESPACE = "orlop-system"
SERVICES = ("storage-initializer", "scheduler", "session-controller")
# Nothing has happened for this long when the memory of the services is read.
REST_SECONDS = 30
EMPTY = "empty"
# The many files last; see rows.ROWS.
SETS = (EMPTY, "text", "big", "small")


class ClusterStore(Local):
    """The cluster's own S3 server; movers and the host reach it at the same address."""

    name = STORE

    def __init__(self, state, endpoint, environment):
        self.state, self.endpoint, self.facts = state, endpoint, {}
        # A folder of the server's is a bucket.
        self.root = state / "s3" / "data" / BUCKET
        self.keys = {name: environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        self.server = processes.pid_of_program(state, "versitygw")

    def repository(self, name):
        whole = super().repository(name)
        return Repository(f"s3:{self.endpoint}/{BUCKET}/{name}", whole.folder, False, self.endpoint, BUCKET, name)

    def environment(self):
        return {**self.keys, "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1"}

    def cpu(self):
        return measure.cpu_of(self.server)


class TenantRepository:
    """Orlop's repository of a round. With it goes the namespace, which must not outlive it: it would be missed there."""

    def __init__(self, tenant, keeps_restored):
        self.tenant, self.keeps_restored = tenant, keeps_restored

    def __getattr__(self, name):
        return getattr(self.tenant.repository, name)

    def remove(self):
        if os.environ.get("KEEP") and sys.exc_info()[0]:
            # Of a round that failed, for who wants to look; what comes next under the same name removes it.
            self.tenant.stop_watching()
            print(f"namespace {self.tenant.namespace} is left as it is", file=sys.stderr)
            return
        self.tenant.remove_if_possible()
        if not self.keeps_restored:
            shutil.rmtree(self.tenant.restored, ignore_errors=True)


class ClusterBench(run.Bench):
    """Where it is Orlop's turn, a session runs on the cluster."""

    def __init__(self, api, store, *arguments):
        super().__init__(store, *arguments, rows=CLUSTER_ROWS)
        self.api = api

    def run(self, rounds):
        rest = [self.at_rest()]
        super().run(rounds)
        rest.append(self.at_rest())
        # The greater: what sessions have made them keep is a part of it.
        leading, standing_by = max(rest)
        self.result["facts"] = {**self.store.facts, "memory_at_rest": leading, "memory_of_standbys": standing_by}

    def at_rest(self):
        time.sleep(REST_SECONDS)
        return processes.memory_of_services(self.api, SYSTEM_NAMESPACE, SERVICES)

    def repository(self, name, data, number):
        if name != OURS:
            return super().repository(name, data, number)
        label = f"{data}-{name}-{number}"
        tenant = Tenant(self.api, self.store.state, self.store, label, self.data_folder(data), self.restored / f"{STORE}-{label}")
        return TenantRepository(tenant, data in run.MANY_FILES)

    def initialise(self, program, repository):
        if program.name == OURS:
            repository.tenant.prepare()
        else:
            super().initialise(program, repository)

    def perform(self, program, repository, row, number):
        if program.name == OURS:
            self.perform_session(repository, row, number)
            return
        if row.work == "session":
            # There is nothing to do for the second of two, and only for it.
            self.run_program(program, program.backup(repository, self.data_folder(row.data)))
        super().perform(program, repository, row, number)

    def perform_session(self, repository, row, number):
        tenant = repository.tenant
        if row.work == "session":
            tenant.first()
        work, command = {
            "first": (tenant.first, "apply --filename backup-configuration.yaml"),
            "restore": (tenant.restore, "create --filename restore-session.yaml"),
        }.get(row.work, (tenant.back_up, "create --filename backup-session.yaml"))
        os.sync()
        before = self.store.cpu()
        measured = work()
        store_cpu = self.store.cpu() - before
        if row.work == "restore":
            # The volume stays until its namespace has gone.
            measure.compare(self.data_folder(row.data), tenant.restored)
        self.note_what_is_unknown(row, measured)
        self.result["runs"].append({
            "data": row.data, "work": row.work, "tool": OURS, "round": number, "wall": round(measured.wall, 3), "cpu": round(measured.cpu, 3),
            "store_cpu": round(store_cpu, 3), "peak_rss": measured.peak_rss, "repository_bytes": repository.size(), "waits": round(measured.waits, 3),
            "steps": measured.steps, "commands": [f"kubectl {command}"]})

    def note_what_is_unknown(self, row, measured):
        unknown = [what for what, value in (("peak memory", measured.peak_rss), ("CPU time", measured.cpu)) if not value]
        if unknown:
            note = f"The {' and '.join(unknown)} of a session ({row.title}) is not known"
            if note not in self.result["notes"]:
                self.result["notes"].append(note)

    def commands(self, program, repository, row, target):
        if row.work == "session":
            return [program.backup(repository, self.data_folder(row.data))]
        return super().commands(program, repository, row, target)

    def make_data(self, action, data, generation=1):
        if data != EMPTY:
            super().make_data(action, data, generation)
            return
        self.data_folder(data).mkdir(parents=True, exist_ok=True)
        if any(self.data_folder(data).iterdir()):
            raise Failed(f"{self.data_folder(data)} is not empty, and stands for nothing to do: empty it")


def arguments_of(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and restored files, the volumes among them; some 30 GiB")
    parser.add_argument("--state", type=Path, required=True, help="folder of the cluster's state, where the S3 server keeps its objects and nodes their logs")
    parser.add_argument("--endpoint", required=True, help="address of the S3 server; its keys stand in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    parser.add_argument("--results", type=Path, help="folder for the figures (default: bench/results for a whole run, else WORK/results)")
    parser.add_argument("--data", action="append", choices=SETS, help="may be given several times (default: all)")
    parser.add_argument("--rounds", type=int, default=results.FEWEST_ROUNDS)
    parser.add_argument("--scale", type=float, default=1.0, help="less makes the data smaller, and the figures unfit for print")
    parser.add_argument("--ours", default="data-mover", help="the command of the data mover, which only says its version")
    parser.add_argument("--restic", default=find("restic", "ORLOP_RESTIC", os.environ.get("ORLOP_TOOLS")))
    arguments = parser.parse_args(words)
    if not arguments.restic:
        parser.error("stock restic is neither under ORLOP_TOOLS nor in the path: run e2e/cluster/tools.sh restic")
    if "AWS_ACCESS_KEY_ID" not in os.environ or "AWS_SECRET_ACCESS_KEY" not in os.environ:
        parser.error("the S3 server's keys are not in the environment: call this through bench/cluster.sh")
    return arguments


def measure_all(arguments):
    """The figures, and whether they are for print."""
    api = kube.of_kubeconfig()
    programs = [DataMover(arguments.ours), Restic(arguments.restic)]
    scales = {data: 1.0 if data == EMPTY else arguments.scale for data in SETS if data in (arguments.data or SETS)}
    versions = {program.name: program.version() for program in programs}
    versions["kubernetes"] = f"Kubernetes {api.request('GET', '/version')['gitVersion']}"
    result = results.new_result(STORE, versions, scales, arguments.rounds, arguments.work)
    for folder, rounds in ((arguments.work, arguments.rounds), (arguments.state, 0)):
        # What is empty takes no room, whatever its scale.
        run.require_space(folder, {"all": arguments.scale}, len(programs), rounds)
    store = ClusterStore(arguments.state, arguments.endpoint, os.environ)
    ClusterBench(api, store, programs, Judge(arguments.restic), arguments.work, scales, result).run(range(1, arguments.rounds + 1))
    return result, not results.shortcomings(result)


def main():
    arguments = arguments_of(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: ended from outside"))
    for name in ("work", "state"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    arguments.work.mkdir(parents=True, exist_ok=True)
    try:
        result, whole = measure_all(arguments)
    except Failed as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    path = (arguments.results or (report.RESULTS if whole else arguments.work / "results")) / f"{STORE}.json"
    results.save(result, path)
    print(f"\n{report.terminal(result)}\n\nfigures: {path}\n")
    if whole and not arguments.results:
        report.publish(report.RESULTS, report.OUTPUT)
        print(f"{report.OUTPUT} is written")


if __name__ == "__main__":
    main()
