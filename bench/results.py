"""The figures of one store: gathered while the benchmark runs, kept as JSON, and summed up.

A file holds `schema`, `store`, `date`, `machine`, `versions`, `settings` {`scale` of each set, `rounds`}, `facts` of the
store, `notes` (sentences) and `runs`: {`data`, `work`, `tool`, `round`, `wall` and `cpu` and `store_cpu` in seconds,
`peak_rss` and `repository_bytes` in bytes, `commands`}. The second table, of sessions on a cluster, is a file of the same
kind with store `cluster`; its runs may have `waits`, the seconds of `wall` that were spent on scheduler and kubelet, and
`steps` {name: seconds since the creation}. Its facts have `memory_at_rest`, the bytes of the three services while nothing
happens, one process of each, the leader; and `memory_of_standbys`, those of all their other replicas.
"""

import datetime
import json
import os
import platform
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rows import OURS, RESTIC, STORING, rows_of

SCHEMA = 1
# Fewer say nothing about how far they scatter.
FEWEST_ROUNDS = 3


def new_result(store, versions, scales, rounds, folder):
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "schema": SCHEMA,
        "store": store,
        "date": now.strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(folder),
        "versions": versions,
        "settings": {"scale": scales, "rounds": rounds},
        "facts": {},
        "notes": [],
        "runs": [],
    }


def machine(folder):
    """What decides about speed here; `folder` is where the data lies."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        # Other architectures than x86 do not say.
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), platform.machine())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "model": model,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": file_system(folder),
    }


def file_system(folder):
    folder = os.path.realpath(folder)
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [(fields[4], fields[fields.index("-") + 1]) for fields in map(str.split, file)]
    holding = [mount for mount in mounts if os.path.commonpath([mount[0], folder]) == mount[0]]
    # The last of the longest: what was mounted over it later counts.
    return max(enumerate(holding), key=lambda place: (len(place[1][0]), place[0]))[1][1]


def save(result, path):
    """Into place only when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(f"{path}.part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)


def load(path):
    result = json.loads(Path(path).read_text())
    if result.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {result.get('schema')}, and this program reads {SCHEMA}: measure again")
    return result


@dataclass
class Figures:
    """Medians over the rounds, with the least and the most of the times."""

    rounds: int
    wall: float
    least: float
    most: float
    cpu: float
    store_cpu: float
    peak_rss: int
    repository_bytes: int
    waits: float
    commands: list


@dataclass
class Summary:
    row: object
    figures: dict

    def share(self):
        """Our time as a share of restic's; none where one is missing."""
        ours, restic = self.figures.get(OURS), self.figures.get(RESTIC)
        return ours.wall / restic.wall if ours and restic else None

    def verdict(self):
        """Whether the bar is met; none where there is none."""
        share = self.share()
        return None if share is None or self.row.most is None else share <= self.row.most

    def stores_more(self):
        """Whether our repository is larger than restic's by more than chunks that fall elsewhere explain."""
        ours, restic = self.figures.get(OURS), self.figures.get(RESTIC)
        if not ours or not restic or self.row.work not in STORING:
            return False
        return ours.repository_bytes > restic.repository_bytes * 1.01


def figures(runs):
    def median(name):
        return statistics.median(run.get(name) or 0 for run in runs)

    walls = [run["wall"] for run in runs]
    return Figures(
        rounds=len(runs), wall=statistics.median(walls), least=min(walls), most=max(walls), cpu=median("cpu"), store_cpu=median("store_cpu"),
        peak_rss=max(run.get("peak_rss") or 0 for run in runs), repository_bytes=round(median("repository_bytes")), waits=median("waits"),
        commands=runs[-1]["commands"])


def summarise(result, rows=None):
    """One Summary for each row that was measured, in the order of the rows."""
    runs = defaultdict(lambda: defaultdict(list))
    for run in result["runs"]:
        runs[run["data"], run["work"]][run["tool"]].append(run)
    return [Summary(row, {tool: figures(of_tool) for tool, of_tool in runs[row.key].items()}) for row in rows or rows_of(result["store"]) if row.key in runs]


def shortcomings(result):
    """Why the figures may not stand in the documentation; nothing if they may."""
    found = []
    if set(result["settings"]["scale"].values()) != {1}:
        found.append("the data was scaled down")
    measured = {summary.row.key: summary for summary in summarise(result)}
    for row in rows_of(result["store"]):
        for tool in (OURS, RESTIC):
            figures_of_tool = measured[row.key].figures.get(tool) if row.key in measured else None
            if not figures_of_tool:
                found.append(f"{tool} was not measured on {row.title}")
            elif figures_of_tool.rounds < FEWEST_ROUNDS:
                found.append(f"{tool} ran {figures_of_tool.rounds} times on {row.title}, and {FEWEST_ROUNDS} is the least")
    return found
