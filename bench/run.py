#!/usr/bin/env python3
"""Measures Orlop's data mover beside stock restic, and beside rustic where there is one.

In each round every row is run by each program in turn, on the same data and on a new repository of its own, and who goes
first changes from round to round. The page cache is warm for all: the data is read once before each round, and what an
earlier run wrote is on the disk before the next begins. What comes back is compared with what went in, and stock restic
reads every repository of another program to its last byte.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import measure
import report
import results
from measure import Cost, Failed
from rows import MIB, OURS, RESTIC, ROWS, RUSTIC
from stores import STORES, Local
from tools import DataMover, Judge, Restic, Rustic, find

HERE = Path(__file__).resolve().parent
SETS = tuple(dict.fromkeys(row.data for row in ROWS))
# Their restored trees stay until the store is done: a file system that has just removed so many makes new ones slowly.
MANY_FILES = {"small"}


class Bench:
    """The rows of one store, of those data sets that have a scale."""

    def __init__(self, store, programs, judge, work, scales, result, rows=ROWS):
        self.store, self.judge, self.work, self.scales, self.result, self.rows = store, judge, work, scales, result, rows
        self.programs = {program.name: program for program in programs}
        self.scratch, self.restored = work / "scratch", work / "restored"

    def run(self, rounds):
        """`rounds` are their numbers."""
        shutil.rmtree(self.restored, ignore_errors=True)
        with self.store:
            self.result["facts"] = self.store.facts
            try:
                for number in rounds:
                    for data in self.scales:
                        self.round(number, data)
            finally:
                for folder in (self.restored, self.scratch):
                    shutil.rmtree(folder, ignore_errors=True)

    def round(self, number, data):
        """All rows of one data set, once, by every program."""
        self.make_data("make", data)
        read_once(self.data_folder(data))
        repositories = {name: self.repository(name, data, number) for name in self.programs}
        changed = False
        try:
            for name in list(self.programs):
                self.attempt(name, self.initialise, repositories[name])
            for row in (row for row in self.rows if row.data == data):
                if row.work == "changed":
                    self.make_data("change", data, number)
                    changed = True
                for name in self.order(number):
                    self.attempt(name, self.perform, repositories[name], row, number)
                print(report.progress(self.store.name, number, row, self.result), flush=True)
            for name in list(self.programs):
                if name != RESTIC:
                    self.attempt(name, self.verify, repositories[name])
        finally:
            if changed:
                self.make_data("undo", data, number)
            for repository in repositories.values():
                repository.remove()

    def repository(self, name, data, number):
        return self.store.repository(f"{data}-{name}-{number}")

    def order(self, number):
        names = list(self.programs)
        first = (number - 1) % len(names)
        return names[first:] + names[:first]

    def attempt(self, name, step, repository, *arguments):
        """rustic is a guest: where it does not get through, the others go on."""
        try:
            step(self.programs[name], repository, *arguments)
        except Failed as error:
            if name != RUSTIC:
                raise
            del self.programs[name]
            self.result["notes"].append(f"rustic was left out: {str(error).splitlines()[0]}")
            print(f"rustic is left out: {error}", flush=True)

    def initialise(self, program, repository):
        program.prepare(repository, self.scratch_of(program))
        self.run_program(program, program.init(repository))

    def perform(self, program, repository, row, number):
        target = self.restored / f"{self.store.name}-{row.data}-{program.name}-{number}"
        commands = self.commands(program, repository, row, target)
        os.sync()
        before = self.store.cpu()
        cost = sum((self.run_program(program, command) for command in commands), Cost())
        store_cpu = self.store.cpu() - before
        if row.work == "restore":
            self.compare(row.data, target)
        self.result["runs"].append({
            "data": row.data, "work": row.work, "tool": program.name, "round": number, "wall": round(cost.wall, 3), "cpu": round(cost.cpu, 3),
            "store_cpu": round(store_cpu, 3), "peak_rss": cost.peak_rss, "repository_bytes": repository.size(),
            "commands": [self.shown(command, program, repository) for command in commands]})

    def commands(self, program, repository, row, target):
        folder = self.data_folder(row.data)
        if row.work in ("first", "unchanged", "changed"):
            return [program.backup(repository, folder)]
        if row.work == "restore":
            target.mkdir(parents=True)
            return [program.restore(repository, target)]
        if row.work in ("check", "open"):
            return [getattr(program, row.work)(repository)]
        # All but the latest go.
        snapshots = self.judge.snapshots(repository, self.environment(self.judge))
        return [program.forget(repository, snapshots[:-1]), program.prune(repository)]

    def compare(self, data, target):
        folder = self.data_folder(data)
        # restic restores the whole path below the target, others only what was backed up.
        below = (target / folder.relative_to("/"), target / folder.name, target)
        measure.compare(folder, next(place for place in below if place.is_dir()))
        if data not in MANY_FILES:
            shutil.rmtree(target)

    def verify(self, _, repository):
        self.judge.verify(repository, self.environment(self.judge))

    def run_program(self, program, command):
        return measure.run(command, self.environment(program), self.scratch_of(program), self.work / f"{program.name}.log")

    def environment(self, program):
        # Nothing of the user's own settings: they are of other repositories.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "RUSTIC_", "AWS_"))}
        return {**inherited, **program.environment(self.scratch), **self.store.environment()}

    def scratch_of(self, program):
        folder = self.scratch / program.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def data_folder(self, data):
        return self.work / "data" / data

    def make_data(self, action, data, generation=1):
        """In a process of its own, so that this one stays small; see `measure.run`."""
        command = [sys.executable, str(HERE / "data.py"), action, data, str(self.data_folder(data))]
        subprocess.run([*command, "--scale", str(self.scales[data]), "--generation", str(generation)], check=True)

    def shown(self, command, program, repository):
        """As a person would write it, with nothing of this machine."""
        # The program may be several words; they stand for its name.
        words = ["data-mover" if program.name == OURS else program.name, *command[len(program.program) :]]
        text = shlex.join(words).replace(str(self.work), "$WORK")
        return text.replace(repository.endpoint, "$S3") if repository.endpoint else text


def read_once(folder):
    subprocess.run(["find", str(folder), "-type", "f", "-exec", "cat", "{}", "+"], stdout=subprocess.DEVNULL, check=True)


def require_space(work, scales, programs, rounds):
    """The data, the repositories and restored copies of a set, and the copies of the many files of all rounds."""
    needed = round((8 + 4 * programs + 2 * rounds * programs) * max(scales.values())) * 1024 * MIB
    free = shutil.disk_usage(work).free
    if free < needed:
        sys.exit(f"error: {work} has {free // MIB} MiB free and the benchmark needs {needed // MIB}: make room, or choose another folder with --work")


def arguments_of(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data, repositories and restored files; some 30 GiB")
    parser.add_argument("--results", type=Path, help="folder for the figures (default: bench/results for a whole run, else WORK/results)")
    parser.add_argument("--store", action="append", choices=STORES, help="may be given several times (default: all)")
    parser.add_argument("--data", action="append", choices=SETS, help="may be given several times (default: all)")
    parser.add_argument("--rounds", type=int, default=results.FEWEST_ROUNDS)
    parser.add_argument("--scale", type=float, default=1.0, help="less makes the data smaller, and the figures unfit for print")
    parser.add_argument("--ours", default="data-mover", help="the command of the data mover")
    parser.add_argument("--restic", default=find("restic", "ORLOP_RESTIC", os.environ.get("ORLOP_TOOLS")))
    parser.add_argument("--rustic", default=find("rustic", "ORLOP_RUSTIC", os.environ.get("ORLOP_TOOLS")))
    parser.add_argument("--gateway", default=find("versitygw", "ORLOP_VERSITYGW", os.environ.get("ORLOP_TOOLS")))
    arguments = parser.parse_args(words)
    if not arguments.restic:
        parser.error("stock restic is neither under ORLOP_TOOLS nor in the path: run e2e/cluster/tools.sh restic")
    return arguments


def run_store(name, arguments, scales):
    """Whether its figures are for print."""
    programs = [DataMover(arguments.ours), Restic(arguments.restic), *([Rustic(arguments.rustic)] if arguments.rustic else [])]
    if name != Local.name and not arguments.gateway:
        sys.exit("error: the S3 server is neither under ORLOP_TOOLS nor in the path: run e2e/cluster/tools.sh versitygw")
    store = Local(arguments.work) if name == Local.name else STORES[name](arguments.work, arguments.gateway)
    versions = {program.name: program.version() for program in programs}
    result = results.new_result(name, versions, scales, arguments.rounds, arguments.work)
    require_space(arguments.work, scales, len(programs), arguments.rounds)
    Bench(store, programs, Judge(arguments.restic), arguments.work, scales, result).run(range(1, arguments.rounds + 1))
    whole = not results.shortcomings(result)
    path = (arguments.results or (report.RESULTS if whole else arguments.work / "results")) / f"{name}.json"
    results.save(result, path)
    print(f"\n{report.terminal(result)}\n\nfigures: {path}\n")
    return whole


def main():
    arguments = arguments_of(sys.argv[1:])
    # Ended from outside, it still stops the servers it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: ended from outside"))
    arguments.work = arguments.work.resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    scales = {data: arguments.scale for data in SETS if data in (arguments.data or SETS)}
    try:
        whole = [run_store(name, arguments, scales) for name in arguments.store or STORES]
    except Failed as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if all(whole) and not arguments.results:
        report.publish(report.RESULTS, report.OUTPUT)
        print(f"{report.OUTPUT} is written")


if __name__ == "__main__":
    main()
