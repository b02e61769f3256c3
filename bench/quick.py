#!/usr/bin/env python3
"""A guard against regressions: a little data, one round beside stock restic, less than a minute.

Fails where the data mover takes more of restic's time, or more memory, than it may. On little data the start of a program
and the derivation of its key are half of the time, so what it takes to list the snapshots is subtracted from each command
of both, save where that is most of it (see `WHOLE`). What is allowed is wide, because a machine has other things to do; see
`allowed`. A row that is over it is measured again, up to twice, and the best time of each program counts, so that one hiccup
fails nothing.
"""

import argparse
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path

import results
from measure import Failed
from rows import MIB, OURS, PEAK_GOAL, RESTIC, ROWS, Row
from run import Bench
from stores import Local
from tools import DataMover, Judge, Restic, find

# 205 MiB, 205 MiB and 10,000 files: enough for restic to work about a second on a row.
SCALES = {"text": 0.1, "vm": 0.1, "small": 0.05}
# Those with a bar, the backup without which nothing could be pruned, and what is subtracted.
BARRED = [row for row in ROWS if row.data in SCALES and (row.most is not None or row.key == ("vm", "changed"))]
QUICK_ROWS = [each for row in BARRED for each in ([row, Row(row.data, "open")] if row.work == "first" else [row])]
SLACK = 1.4
# Counted from the programs' starts: forget and prune start twice and wait for other locks each time, and what restic then does
# to 20 MiB depends on how its packs fell out (0.5 to 1.2 s on the same data). What is left of ours is 0.6 s of 1.8.
WHOLE, WHOLE_SLACK = "prune", 1.25
PEAK_SLACK = 1.25
ROUNDS = (1, 2, 3)
# Less is not told from nothing beside the scatter of a program's start.
SHORTEST = 0.1
# All of it in memory: no disk that others use too comes in between.
MEMORY, MEMORY_NEEDED = Path("/dev/shm"), 3072 * MIB


def allowed(row):
    """The greatest share of restic's time that passes: half way, as a ratio, between the bar and restic itself, and two
    fifths more. Where the bar is a quarter of restic's time that is 0.7 of it; where it is all of it, 1.4."""
    return WHOLE_SLACK if row.work == WHOLE else math.sqrt(row.most) * SLACK


def complaints(summaries):
    """{row: sentence} for each row that is over what it may, by the best time of each program."""
    opening = {summary.row.data: summary.figures for summary in summaries if summary.row.work == "open"}
    found = {}
    for summary in summaries:
        row, peak = summary.row, summary.figures[OURS].peak_rss
        ours, restic = (work_of(row, summary.figures[tool], opening[row.data][tool]) for tool in (OURS, RESTIC))
        if row.most is not None and ours > restic * allowed(row):
            found[row] = f"{row.title}: {ours:.2f} s are {ours / restic:.2f} of restic's {restic:.2f} s, and {allowed(row):.2f} is the most"
        elif peak > PEAK_GOAL * PEAK_SLACK:
            found[row] = f"{row.title}: a peak of {peak / MIB:.0f} MiB, and {PEAK_GOAL * PEAK_SLACK / MIB:.0f} is the most"
    return found


def work_of(row, figures, opening):
    """Seconds beyond those of opening the repository, once for each command; never so few that a ratio says nothing."""
    if row.work == WHOLE:
        return figures.least
    return max(figures.least - opening.least * len(figures.commands), SHORTEST)


def run(ours, restic, work):
    programs, scales = (DataMover(ours), Restic(restic)), SCALES
    result = results.new_result(Local.name, {program.name: program.version() for program in programs}, scales, 2, work)
    for number in ROUNDS:
        Bench(Local(work), programs, Judge(restic), work, scales, result, QUICK_ROWS).run([number])
        found = complaints(results.summarise(result, QUICK_ROWS))
        if not found:
            return
        scales = {data: scale for data, scale in SCALES.items() if any(row.data == data for row in found)}
    sys.exit(f"error: slower than it may be, {len(ROUNDS)} times:\n  " + "\n  ".join(found.values()))


def folder_for_work():
    """In memory where there is enough of it."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED and available_memory() >= MEMORY_NEEDED
    return tempfile.TemporaryDirectory(prefix="orlop-bench-", dir=MEMORY if roomy else None)


def available_memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", default="data-mover", help="the command of the data mover")
    parser.add_argument("--restic", default=find("restic", "ORLOP_RESTIC", os.environ.get("ORLOP_TOOLS")))
    arguments = parser.parse_args()
    if not arguments.restic:
        sys.exit("error: stock restic is neither under ORLOP_TOOLS nor in the path: run e2e/cluster/tools.sh restic")
    try:
        with folder_for_work() as work:
            run(arguments.ours, arguments.restic, Path(work))
    except Failed as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
