#!/usr/bin/env python3
"""Makes the benchmark's data sets.

usage: data.py (make | change | undo) (small | text | big | vm) FOLDER [--scale 0.1] [--generation 1]

  small   200,000 files of 0.5-16 KiB in a tree of projects: three of four are text, the others do not compress
  text    2 GiB of log-like text in 16 files
  big     2 GiB in 8 files that do not compress
  vm      one image of 2 GiB: zeros (written, no holes), repeated extents, text and random bytes, a quarter each

`make` writes the set unless FOLDER holds it already. `change` rewrites 1 % of small (of those files eight in ten get other
content, one goes and one is new) or a tenth of the extents of vm; `undo` takes back the change of that generation. All is
the same for the same arguments. `--scale` makes fewer small files, and the other sets smaller.
"""

import argparse
import functools
import json
import os
import shutil
import sys
from pathlib import Path

from content import log, noise, numbers

# Raised whenever other bytes come out, so that a set that lies around from before is not taken for the new one.
FORMAT = 1
MIB = 1 << 20
GIB = 1 << 30


@functools.cache
def small_pools(size):
    return log().text("small text", size), noise("small noise", size)


class Small:
    FILES = 200_000
    SMALLEST, LARGEST = 512, 16 << 10
    # Content is cut out of these at random places: as whole files are compressed one by one, overlaps do not show.
    POOL = 32 * MIB
    SUFFIXES = ("rs", "py", "json", "md", "html", "log", "png", "gz")
    FOLDERS = ("src", "src/core", "src/core/model", "src/web", "tests", "tests/data", "docs", "assets", "assets/icons", "target/cache")

    def __init__(self, folder, scale):
        self.folder, self.files = folder, max(100, round(self.FILES * scale))
        self.last_folder = None
        self.text, self.noise = small_pools(self.POOL // 2)

    def make(self):
        for index in range(self.files):
            self._write(index, 0)

    def change(self, generation):
        for place, index in enumerate(self._changed(generation)):
            if place % 10 == 8:
                self._remove(index)
            elif place % 10 == 9:
                self._write(index, generation, "-new")
            else:
                self._write(index, generation)

    def undo(self, generation):
        for place, index in enumerate(self._changed(generation)):
            if place % 10 == 9:
                self._remove(index, "-new")
            else:
                self._write(index, 0)

    def _changed(self, generation):
        """One file in a hundred, all over the tree, in an order of no meaning."""
        drawn = numbers(f"small change {generation}", self.files // 100)
        return [block * 100 + number % 100 for block, number in enumerate(drawn)]

    def _place(self, index, addition=""):
        """Folder and path: a thousand files a project, a hundred a folder of it, in subfolders of about a dozen."""
        project, place = divmod(index, 1000)
        folder = f"{self.folder}/project-{project:04}/{self.FOLDERS[place // 100]}/part-{place // 12:02}"
        return folder, f"{folder}/item-{index:07}{addition}.{self.SUFFIXES[index % 8]}"

    def _write(self, index, generation, addition=""):
        size, place, mark = numbers(f"small {index} {generation}", 3)
        size = self.SMALLEST + size % (self.LARGEST - self.SMALLEST + 1)
        # The last two suffixes are those of files that are compressed already.
        pool = self.noise if index % 8 >= 6 else self.text
        place %= len(pool) - size
        # No two files are the same, however their places fall.
        head = b"%07x-%08x\n" % (index, mark)
        folder, path = self._place(index, addition)
        if folder != self.last_folder:
            os.makedirs(folder, exist_ok=True)
            self.last_folder = folder
        # Two hundred thousand times, so without the layers of `open`.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(file, head + pool[place : place + size - len(head)])
        finally:
            os.close(file)

    def _remove(self, index, addition=""):
        Path(self._place(index, addition)[1]).unlink(missing_ok=True)


class Files:
    """Sets of a few large files."""

    BLOCK = 8 * MIB

    def __init__(self, folder, scale):
        self.folder, self.size = folder, round(2 * GIB * scale) // self.COUNT

    def make(self):
        for number in range(self.COUNT):
            with open(self.folder / f"{self.NAME}-{number:02}.{self.SUFFIX}", "wb", buffering=0) as file:
                for start in range(0, self.size, self.BLOCK):
                    file.write(self._block(f"{self.NAME} {number} {start}", min(self.BLOCK, self.size - start)))


class Text(Files):
    NAME, COUNT, SUFFIX = "service", 16, "log"

    def __init__(self, folder, scale):
        super().__init__(folder, scale)
        self._block = log().text


class Big(Files):
    NAME, COUNT, SUFFIX = "film", 8, "bin"
    _block = staticmethod(noise)


class Image:
    """Extents of 64 KiB to 4 MiB."""

    UNIT, UNITS = 64 << 10, 64
    # The repeated extents begin like one of these.
    TEMPLATES = 8

    def __init__(self, folder, scale):
        self.path, self.size = folder / "disk.img", round(2 * GIB * scale) // self.UNIT * self.UNIT
        self.log = log()
        largest = self.UNIT * self.UNITS
        self.templates = [self.log.text(f"vm template {n}", largest // 2) + noise(f"vm template {n}", largest // 2) for n in range(self.TEMPLATES)]
        self.extents = list(self._extents())

    def make(self):
        with open(self.path, "wb", buffering=0) as image:
            for place, (_, size) in enumerate(self.extents):
                image.write(self._content(place, size, 0))

    def change(self, generation):
        self._rewrite(generation, generation)

    def undo(self, generation):
        self._rewrite(generation, 0)

    def _rewrite(self, chosen, generation):
        with open(self.path, "r+b", buffering=0) as image:
            for place, (start, size) in enumerate(self.extents):
                if place % 10 == chosen % 10:
                    image.seek(start)
                    image.write(self._content(place, size, generation))

    def _extents(self):
        """(start, size) of each."""
        start, place = 0, 0
        while start < self.size:
            size = self.UNIT * (1 + numbers(f"vm extent {place}", 1)[0] % self.UNITS)
            yield start, min(size, self.size - start)
            start, place = start + size, place + 1

    def _content(self, place, size, generation):
        label = f"vm {place} {generation}"
        # What is written anew is text or random; nobody rewrites zeros.
        kind = place % 4 if generation == 0 else 2 + place % 2
        if kind == 0:
            return bytes(size)
        if kind == 1:
            return self.templates[numbers(label, 1)[0] % self.TEMPLATES][:size]
        return self.log.text(label, size) if kind == 2 else noise(label, size)


SETS = {"small": Small, "text": Text, "big": Big, "vm": Image}


def mark_of(folder):
    """Says which set the folder holds; missing while it is written and while it is changed."""
    return Path(f"{folder}.made")


def provide(name, folder, scale):
    """Makes the set unless it is there."""
    what = json.dumps({"format": FORMAT, "set": name, "scale": scale})
    mark = mark_of(folder)
    if mark.exists() and mark.read_text() == what:
        return
    mark.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    SETS[name](folder, scale).make()
    mark.write_text(what)


def change(name, folder, scale, generation):
    # From here on it is not the set that was made; `undo` makes it so again.
    mark_of(folder).rename(f"{mark_of(folder)}.changed")
    SETS[name](folder, scale).change(generation)


def undo(name, folder, scale, generation):
    SETS[name](folder, scale).undo(generation)
    Path(f"{mark_of(folder)}.changed").rename(mark_of(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("make", "change", "undo"))
    parser.add_argument("set", choices=SETS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--generation", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.action == "make":
        provide(arguments.set, arguments.folder, arguments.scale)
    elif not hasattr(SETS[arguments.set], "change"):
        sys.exit(f"error: nothing of {arguments.set} changes")
    else:
        {"change": change, "undo": undo}[arguments.action](arguments.set, arguments.folder, arguments.scale, arguments.generation)


if __name__ == "__main__":
    main()
