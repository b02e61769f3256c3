#!/usr/bin/env python3
"""What a data mover must hold out in a container of 256 MiB: millions of files, a directory of a million, a terabyte of holes.

usage: extremes.py --ours PROGRAM [--work FOLDER] [--limit MIB] [--scale 1] [many | directory | hole]...

Each set is backed up, backed up again unchanged, and restored, each time in a control group whose memory ends at the limit, so
that a program that takes more is killed. What came back is compared with what went in, and stock restic checks the repository.
Needs root, some 60 GiB of disk for *many*, and an hour.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import measure
from measure import Failed
from stores import Local
from tools import DataMover, Judge, find

MIB, TIB = 1 << 20, 1 << 40
FILES, LEAVES_PER_LEVEL = 4_194_304, 134
ENTRIES = 1_000_000


class Many:
    """Files of their own content in 2.4 million directories, three levels deep."""

    def make(self, folder, scale):
        width = max(2, round(LEAVES_PER_LEVEL * scale ** (1 / 3)))
        leaves = width**3
        for number in range(max(1, round(FILES * scale))):
            leaf = number % leaves
            place = folder / f"{leaf // width**2:03}" / f"{leaf // width % width:03}" / f"{leaf % width:03}"
            if number < leaves:
                place.mkdir(parents=True, exist_ok=True)
            with open(place / f"file-{number}", "wb") as file:
                file.write(b"content of file %d\n" % number)

    compare = staticmethod(measure.compare)


class Directory:
    """One directory of a million entries."""

    def make(self, folder, scale):
        for number in range(max(1, round(ENTRIES * scale))):
            with open(folder / f"an-entry-of-the-directory-{number:07}", "wb") as file:
                file.write(b"%d\n" % number)

    compare = staticmethod(measure.compare)


class Hole:
    """A file of a tebibyte with three pieces of data: at its beginning, in its middle and at its end."""

    PIECE = os.urandom(3 * MIB)

    def make(self, folder, scale):
        size = round(TIB * scale)
        with open(folder / "image", "wb") as file:
            file.truncate(size)
            for offset in self._pieces(size):
                os.pwrite(file.fileno(), self.PIECE, offset)

    def _pieces(self, size):
        return 0, size // 2, size - len(self.PIECE)

    def compare(self, original, restored):
        # Reading a tebibyte of zeros says less than where the data is, and takes an hour.
        there, back = (os.stat(folder / "image") for folder in (original, restored))
        if there.st_size != back.st_size:
            raise Failed(f"{restored}/image has {back.st_size} bytes instead of {there.st_size}")
        if back.st_blocks > there.st_blocks + 64 * MIB // 512:
            raise Failed(f"{restored}/image takes {back.st_blocks * 512} bytes of disk, the original {there.st_blocks * 512}")
        with open(original / "image", "rb") as one, open(restored / "image", "rb") as other:
            for offset in self._pieces(there.st_size):
                if os.pread(one.fileno(), len(self.PIECE), offset) != os.pread(other.fileno(), len(self.PIECE), offset):
                    raise Failed(f"{restored}/image differs at byte {offset} and after")
            at, end = 0, len(self.PIECE)
            for offset in self._pieces(there.st_size):
                at = os.lseek(other.fileno(), at, os.SEEK_DATA)
                if at < offset - MIB or at > offset:
                    raise Failed(f"{restored}/image has data at byte {at}, the original next at {offset}")
                at = os.lseek(other.fileno(), offset + end - 1, os.SEEK_HOLE) if offset + end < there.st_size else there.st_size


SETS = {"many": Many, "directory": Directory, "hole": Hole}


@contextlib.contextmanager
def limited_group(limit):
    """A control group whose processes have so much memory together; yields what to put before a command."""
    version_1 = Path("/sys/fs/cgroup/memory")
    root, file = (version_1, "memory.limit_in_bytes") if version_1.is_dir() else (Path("/sys/fs/cgroup"), "memory.max")
    group = root / f"orlop-extremes-{os.getpid()}"
    try:
        group.mkdir()
        (group / file).write_text(str(limit))
    except OSError as error:
        raise Failed(f"no control group with a limit of memory can be made under {root}: {error}; run this as root") from error
    try:
        yield ["/bin/sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "limited"]
    finally:
        group.rmdir()


class Extremes:
    def __init__(self, ours, judge, work, limit, scale):
        self.ours, self.judge, self.work, self.limit, self.scale = ours, judge, work, limit, scale
        self.log, self.rows = work / "extremes.log", []

    def run(self, name):
        data = SETS[name]()
        source, restored = self.work / name / "source", self.work / name / "restored"
        shutil.rmtree(self.work / name, ignore_errors=True)
        source.mkdir(parents=True)
        print(f"{name}: making the data", flush=True)
        data.make(source, self.scale)
        with Local(self.work / name) as store:
            repository = store.repository(name)
            self._measure(name, "init", self.ours.init(repository))
            self._measure(name, "first", self.ours.backup(repository, source))
            self._measure(name, "unchanged", self.ours.backup(repository, source))
            self._measure(name, "restore", self.ours.restore(repository, restored))
            data.compare(source, restored / source.relative_to("/"))
            environment = self._environment(self.judge)
            self.judge._ask(self.judge.command(repository, "check"), environment)
        print(f"{name}: identical, and stock restic found no fault", flush=True)
        shutil.rmtree(self.work / name)

    def _measure(self, name, work, command):
        with limited_group(self.limit) as before:
            cost = measure.run([*before, *command], self._environment(self.ours), self.work, self.log, seconds=4 * 3600)
        row = {"data": name, "work": work, "wall": cost.wall, "cpu": cost.cpu, "peak_rss": cost.peak_rss}
        self.rows.append(row)
        print(f"{name:<10} {work:<10} {cost.wall:8.1f} s {cost.cpu:8.1f} s CPU {cost.peak_rss / MIB:6.0f} MiB", flush=True)

    def _environment(self, program):
        return {**os.environ, **program.environment(self.work)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache/orlop/bench")
    parser.add_argument("--limit", type=int, default=256, help="MiB")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("sets", nargs="*", metavar="SET", help="many, directory, hole; all of them if none is named")
    arguments = parser.parse_args()
    unknown = set(arguments.sets) - SETS.keys()
    if unknown:
        parser.error(f"there is no set {', '.join(sorted(unknown))}")
    restic = find("restic", "ORLOP_RESTIC", os.environ.get("ORLOP_TOOLS", "")) or parser.error("stock restic is missing: run e2e/cluster/tools.sh restic")
    arguments.work.mkdir(parents=True, exist_ok=True)
    extremes = Extremes(DataMover(arguments.ours), Judge(restic), arguments.work.resolve(), arguments.limit * MIB, arguments.scale)
    try:
        for name in arguments.sets or SETS:
            extremes.run(name)
    except Failed as error:
        sys.exit(f"error: {error}")
    finally:
        (arguments.work / "extremes.json").write_text(json.dumps(extremes.rows, indent=1))


if __name__ == "__main__":
    main()
