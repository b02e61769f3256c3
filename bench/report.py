#!/usr/bin/env python3
"""Writes docs/benchmarks.md out of the figures in bench/results, so that nobody edits numbers by hand.

usage: report.py [--results FOLDER] [--output FILE] [--draft]

Refuses figures of scaled-down data or of too few rounds, unless it is a draft.
"""

import argparse
import sys
from pathlib import Path

import results
import stores
from rows import LATENCY_MOST, LATENCY_ROW, MIB, OURS, OWN_SECONDS, PEAK_GOAL, REST_GOAL, RESTIC, TITLES

PROJECT = Path(__file__).resolve().parent.parent
RESULTS, OUTPUT = PROJECT / "bench" / "results", PROJECT / "docs" / "benchmarks.md"
# In the order in which they are shown.
TABLES = {**stores.TITLES, "cluster": "A session on a cluster"}

INTRODUCTION = """\
# Benchmarks

*Written by `bench/report.py` from `bench/results/*.json`. Run it again instead of editing this page.*

Orlop's data mover beside stock restic, and beside rustic where it is installed. The bar of a row is a share of the time
that stock restic takes in the same run on the same machine.

## How to run it

```console
$ make bench                                        # everything: an hour or two, and some 30 GiB of disk
$ make bench BENCH="--store local --data small"     # a part of it, which is printed and not published
$ make bench-quick                                  # a scaled-down guard against regressions, in less than a minute
$ make bench-cluster                                # sessions on a cluster of its own, as root
$ make bench-cluster BENCH="--scale 0.02 --rounds 1"
```

The folder for data, repositories and restored files is `$ORLOP_BENCH`, by default `~/.cache/orlop/bench`. rustic takes part
where `$ORLOP_RUSTIC` names it or it is in the path. `bench/run.py --help` and `bench/cluster.py --help` list the rest. A
whole run writes its figures to `bench/results` and then this page.

## What is measured

* *small*: 200,000 files of 0.5-16 KiB in a tree of projects, three of four compressible. *text*: 2 GiB of log-like text in
  16 files. *big*: 2 GiB in 8 files that do not compress. *vm*: one image of 2 GiB, a quarter each zeros, repeated extents,
  text and random bytes. All are made by `bench/data.py` from fixed seeds.
* *1 % changed*: of one file in a hundred, eight in ten have other content, one has gone and one is new. *A tenth rewritten*:
  every tenth extent of the image. *Forget + prune*: all snapshots but the latest, then a prune, with the defaults of each.
* Within a round every row is run by each program in turn on the same data, and who goes first changes from round to round.
  Every program has a repository of its own, made new for the round. Shown is the median, with least and most in brackets.
* The page cache is warm for all: the data is read once before each round. What earlier runs wrote is on the disk before the
  next begins.
* The times are those of the whole command, with its start and the derivation of its key. CPU and peak memory are what the
  kernel accounts to the process.
* On a local repository restic runs with `--no-cache`. On an object store it keeps its cache, which is empty before the first
  backup; Orlop keeps none.
* The object store is versitygw on the same machine, whose own CPU time is shown, because it is missing elsewhere. The store
  that is 20 ms away is the same behind `bench/latency.py`, which holds every byte for 10 ms in either direction.
* Every restored tree is compared with the original byte by byte, and stock restic checks every repository that another
  program wrote with `check --read-data`. A run that fails either is no run.

### Sessions on a cluster

* The cluster is that of the end-to-end tests: two nodes, the control plane and versitygw on this one machine, and the chart
  with two replicas of each service and the tests' short timings, by which progress is written every second. A workload
  mounts the data set as its volume; restic reads the same folder on the host, where nothing limits it. The mover has the
  chart's limit of 1 GiB, in which the page cache of what it writes counts.
* A session lasts from just before its creation until a watch sees its final phase; the API server's own times have whole
  seconds. *First* is the initial session, which the scheduler creates, so it begins when the watch sees it; it makes the
  repository too, while `restic init` is not counted. A restore goes into an empty volume. *A session with nothing to do* is
  the second backup of an empty volume.
* *Scheduler and kubelet* is the time from the creation of the mover's Job to the first line that the mover logs. That line
  comes some milliseconds after its start, which are missing in *our own*. All that follows the mover's end is our own.
* CPU is that of the mover's pod, without the services'. Peak memory is the mover's resident memory, as it logs it. Memory at
  rest is the resident memory of one process of each service, its leader, when nothing has happened for half a minute: the
  greater of what it is before the first and after the last session.
"""


def render(all_results):
    """The page."""
    parts = [INTRODUCTION]
    by_store = {result["store"]: result for result in all_results}
    for store, title in TABLES.items():
        if store in by_store:
            parts.append(section(title, by_store[store]))
    if "local" in by_store and "s3-latency" in by_store:
        parts.append(latency_section(by_store))
    return "\n".join(parts)


def section(title, result):
    summaries = results.summarise(result)
    tools = [tool for tool in TITLES if any(tool in summary.figures for summary in summaries)]
    parts = [f"## {title}\n", conditions(result), "", speed_table(summaries, tools), "", resource_table(summaries, tools)]
    if any(summary.figures[tool].waits for summary in summaries for tool in summary.figures):
        parts += ["", waits_table(summaries)]
    parts += ["", "The commands of the last round:", "", "```console", *commands(summaries), "```", ""]
    return "\n".join(parts)


def conditions(result):
    machine, facts = result["machine"], result["facts"]
    lines = [
        f"Measured {result['date']}, {result['settings']['rounds']} rounds, on {machine['cores']} cores of {machine['model']} with "
        f"{machine['memory_bytes'] / 1024**3:.0f} GiB of memory, {machine['kernel']}, {machine['file_system']}. "
        f"Versions: {', '.join(result['versions'].values())}."]
    if "round_trip_ms" in facts:
        lines.append(
            f"The proxy alone: {facts['round_trip_ms']:g} ms a round trip, {facts['first_trip_ms']:g} ms for the first of a connection, "
            f"{facts['mb_per_s']:,} MB/s over one connection.")
    if "memory_at_rest" in facts:
        lines.append(f"The three services at rest take {facts['memory_at_rest'] / MIB:.0f} MiB; the goal is at most {REST_GOAL // MIB} MiB.")
    if "memory_of_standbys" in facts:
        lines.append(f"Their standbys take another {facts['memory_of_standbys'] / MIB:.0f} MiB.")
    scaled = {data: scale for data, scale in result["settings"]["scale"].items() if scale != 1}
    if scaled:
        lines.append("**Scaled down**: " + ", ".join(f"{data} to {scale:g}" for data, scale in scaled.items()) + ".")
    return "\n".join(lines + [note.rstrip(".") + "." for note in result["notes"]])


def speed_table(summaries, tools):
    rows = []
    for summary in summaries:
        share = summary.share()
        times = [seconds(summary.figures.get(tool)) for tool in tools]
        rows.append([summary.row.title, *times, "-" if share is None else f"{1 / share:.2f}", summary.row.goal or "-", verdict_of(summary)])
    return table(["Work", *(f"{TITLES[tool]}, s" for tool in tools), "restic ÷ Orlop", "Goal", "Met"], rows)


def verdict_of(summary):
    return {None: "-", True: "yes", False: "**no**"}[is_met(summary)]


def is_met(summary):
    if summary.row.work == "session" and OURS in summary.figures:
        ours = summary.figures[OURS]
        return ours.wall - ours.waits <= OWN_SECONDS
    return summary.verdict()


def resource_table(summaries, tools):
    rows = []
    for summary in summaries:
        known = [summary.figures.get(tool) for tool in tools]
        cpu = [f"{one.cpu:.1f}" + (f" + {one.store_cpu:.1f}" if one.store_cpu else "") if one else "-" for one in known]
        peak = [mebibytes(one.peak_rss) if one else "-" for one in known]
        if OURS in summary.figures and summary.figures[OURS].peak_rss > PEAK_GOAL:
            peak[tools.index(OURS)] = f"**{peak[tools.index(OURS)]}**"
        stored = [mebibytes(one.repository_bytes) if one else "-" for one in known]
        if summary.stores_more():
            stored[tools.index(OURS)] = f"**{stored[tools.index(OURS)]}**"
        rows.append([summary.row.title, *cpu, *peak, *stored])
    heads = [f"{what}, {TITLES[tool]}" for what in ("CPU (+ store), s", "Peak, MiB", "Repository, MiB") for tool in tools]
    goals = f"Goal for Orlop: a peak of at most {PEAK_GOAL // MIB} MiB in every row, and a repository no larger than restic's. What misses it is bold."
    return f"{goals}\n\n" + table(["Work", *heads], rows)


def waits_table(summaries):
    """Of a session on a cluster: what was spent on scheduler and kubelet, and what remains as ours."""
    ours = [(summary.row.title, summary.figures[OURS]) for summary in summaries if OURS in summary.figures]
    rows = [[title, f"{one.wall:.2f}", f"{one.waits:.2f}", f"{one.wall - one.waits:.2f}"] for title, one in ours]
    return table(["Session", "Whole, s", "Scheduler and kubelet, s", "Our own, s"], rows)


def latency_section(by_store):
    """What a store costs over a local repository."""
    summaries = {store: {summary.row.key: summary for summary in results.summarise(result)} for store, result in by_store.items() if store != "cluster"}
    rows = []
    for key, local in summaries["local"].items():
        cells = []
        for store in ("s3", "s3-latency"):
            for tool in (OURS, RESTIC):
                far = summaries.get(store, {}).get(key)
                cells.append(f"{far.figures[tool].wall / local.figures[tool].wall:.2f}" if far and tool in far.figures and tool in local.figures else "-")
        met, goal = "-", "-"
        if key == LATENCY_ROW and cells[2] != "-":
            goal, met = f"≤ {LATENCY_MOST:g} × local", "yes" if float(cells[2]) <= LATENCY_MOST else "**no**"
        rows.append([local.row.title, *cells, goal, met])
    heads = ["Work", "S3, Orlop", "S3, restic", "S3 and 20 ms, Orlop", "S3 and 20 ms, restic", "Goal for Orlop", "Met"]
    return "## What the distance costs\n\nTime as a multiple of the same row on a local repository.\n\n" + table(heads, rows) + "\n"


def commands(summaries):
    for summary in summaries:
        yield f"# {summary.row.title}"
        for one in summary.figures.values():
            yield from (f"$ {command}" for command in one.commands)


def table(heads, rows):
    lines = [f"| {' | '.join(cells)} |" for cells in [heads, ["---"] * len(heads), *rows]]
    return "\n".join(lines)


def seconds(one):
    return f"{one.wall:.2f} ({one.least:.2f}-{one.most:.2f})" if one else "-"


def mebibytes(size):
    return f"{size / MIB:,.0f}" if size else "-"


def progress(store, number, row, result):
    """A line for one row of one round."""
    runs = [run for run in result["runs"] if (run["data"], run["work"], run["round"]) == (*row.key, number)]
    cells = [f"{TITLES[run['tool']]} {run['wall']:7.2f} s {run['cpu']:7.2f} s CPU {run['peak_rss'] / MIB:5.0f} MiB" for run in sorted(runs, key=lambda run: list(TITLES).index(run["tool"]))]
    return f"{store:<10} {number}  {row.title:<25} " + "   ".join(cells)


def terminal(result):
    """The whole table of a store for a person who watches."""
    lines = [f"{TABLES[result['store']]}: medians of {result['settings']['rounds']}", f"  {'':<25} {'Orlop':>9} {'restic':>9} {'rustic':>9}   ratio  goal"]
    for summary in results.summarise(result):
        walls = [f"{summary.figures[tool].wall:9.2f}" if tool in summary.figures else f"{'-':>9}" for tool in TITLES]
        share = summary.share()
        ratio = f"{1 / share:7.2f}" if share else f"{'-':>7}"
        mark = {None: "", True: "  met", False: "  NOT MET"}[is_met(summary)]
        waits = summary.figures[OURS].waits if OURS in summary.figures else 0
        apart = f"  ({waits:.2f} s of it scheduler and kubelet)" if waits else ""
        lines.append(f"  {summary.row.title:<25} {' '.join(walls)} {ratio}  {summary.row.goal or '-'}{mark}{apart}")
    return "\n".join(lines)


def load_all(folder):
    return [results.load(folder / f"{store}.json") for store in TABLES if (folder / f"{store}.json").exists()]


def publish(folder, output, draft=False):
    """Writes the page, or ends the program with the reasons why not."""
    found = load_all(folder)
    if not found:
        sys.exit(f"error: {folder} holds no figures: run 'make bench'")
    problems = [f"{result['store']}: {problem}" for result in found for problem in results.shortcomings(result)]
    if problems and not draft:
        sys.exit("error: these figures are not for print:\n  " + "\n  ".join(problems))
    output.write_text(render(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--draft", action="store_true")
    arguments = parser.parse_args()
    publish(arguments.results, arguments.output, arguments.draft)


if __name__ == "__main__":
    main()
