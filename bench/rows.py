"""What is measured, and the bar for each row.

A bar is a share of the time that stock restic takes in the same run on the same machine, never a number of seconds.
"""

from dataclasses import dataclass

OURS, RESTIC, RUSTIC = "orlop", "restic", "rustic"
TITLES = {OURS: "Orlop", RESTIC: "restic", RUSTIC: "rustic"}

MIB = 1 << 20
# The most memory that a run on any of these sets may take.
PEAK_GOAL = 128 * MIB


@dataclass(frozen=True)
class Row:
    data: str
    work: str
    # The bar as people say it, and as the greatest share of restic's time; none where a row only tells.
    goal: str | None = None
    most: float | None = None

    @property
    def key(self):
        return self.data, self.work

    @property
    def title(self):
        return f"{self.data}, {WORK_TITLES.get(self.key) or WORK_TITLES[self.work]}"


WORK_TITLES = {
    "first": "first",
    "unchanged": "unchanged",
    "changed": "1 % changed",
    ("vm", "changed"): "a tenth rewritten",
    "restore": "restore",
    "check": "check all data",
    "prune": "forget + prune",
    "open": "list the snapshots",
    "session": "a session with nothing to do",
}

# What backs up, and therefore says how much a repository holds.
STORING = ("first", "unchanged", "changed", "prune")


def faster(divisor):
    return {"goal": f"≤ restic / {divisor:g}" if divisor != 1 else "≤ restic", "most": 1 / divisor}


def times(factor):
    return {"goal": f"≤ {factor:g} × restic" if factor != 1 else "≤ restic", "most": factor}


# In the order in which they run: the many files come last, because a file system that has just removed hundreds of
# thousands of files makes new ones slowly for some minutes (ext4 leaves their inodes alone).
ROWS = (
    Row("text", "first", **faster(2)),
    Row("text", "restore", **faster(1.5)),
    Row("big", "first", **faster(1.5)),
    Row("big", "restore", **faster(1)),
    Row("vm", "first", **faster(2.5)),
    Row("vm", "restore", **faster(1)),
    Row("vm", "check", **faster(1)),
    Row("vm", "changed"),
    Row("vm", "prune", **faster(3)),
    Row("small", "first", **faster(3.5)),
    Row("small", "unchanged", **faster(5)),
    Row("small", "changed", **faster(4)),
    Row("small", "restore", **faster(3)),
    Row("small", "check"),
    Row("small", "prune"),
)

# A far store should hide behind the work: what 20 ms may add to the same row on a local repository.
LATENCY_ROW, LATENCY_MOST = ("text", "first"), 1.10

# A BackupSession or RestoreSession from its creation to its final phase, beside restic on the host and the same store.
CLUSTER_ROWS = (
    Row("small", "first", **times(0.6)),
    Row("small", "unchanged", **times(1)),
    Row("small", "restore", **times(0.9)),
    Row("text", "first", **times(0.75)),
    Row("text", "restore", **times(1.4)),
    Row("big", "first", **times(0.85)),
    Row("big", "restore", **times(1.4)),
    Row("empty", "session", goal="≤ 2.5 s of our own"),
)
OWN_SECONDS = 2.5
# The control plane while nothing happens.
REST_GOAL = 60 * MIB


def rows_of(store):
    return CLUSTER_ROWS if store == "cluster" else ROWS
