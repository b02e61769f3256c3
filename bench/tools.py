"""The programs that are compared, and how each is asked to do the same."""

import json
import os
import shlex
import shutil
import subprocess

from measure import Failed
from rows import OURS, RESTIC, RUSTIC

HERE = os.path.dirname(os.path.realpath(__file__))

# Of the repositories of the benchmark only, which hold made-up data.
PASSWORD = "benchmark"


class Restic:
    """Stock restic, and what takes its flags."""

    name = RESTIC
    # restic keeps a cache of remote metadata beside the user's; on a local repository it would only copy the disk to itself.
    keeps_cache = True

    def __init__(self, command):
        self.program = shlex.split(command)

    def version(self):
        """Name and number, without the compiler and the platform."""
        for word in ("version", "--version"):
            result = subprocess.run([*self.program, word], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
            if result.returncode == 0:
                return " ".join(result.stdout.split()[:2])
        raise Failed(f"{shlex.join(self.program)} does not say its version: {result.stderr.strip()}")

    def environment(self, scratch):
        return {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": f"{scratch}/cache-{self.name}"}

    def prepare(self, repository, folder):
        """Whatever the program needs to find beside it before it runs in `folder`."""

    def command(self, repository, operation, *arguments):
        cache = ["--no-cache"] if self.keeps_cache and repository.is_local else []
        return [*self.program, operation, "-r", repository.url, *cache, *arguments]

    def init(self, repository):
        return self.command(repository, "init")

    def backup(self, repository, folder):
        return self.command(repository, "backup", str(folder))

    def restore(self, repository, target):
        return self.command(repository, "restore", "latest", "--target", str(target))

    def check(self, repository):
        return self.command(repository, "check", "--read-data")

    def forget(self, repository, snapshots):
        return self.command(repository, "forget", *snapshots)

    def prune(self, repository):
        return self.command(repository, "prune")

    def open(self, repository):
        """The least that can be asked of a repository."""
        return self.command(repository, "snapshots")


class DataMover(Restic):
    """Ours: restic's flags, and no cache."""

    name = OURS
    keeps_cache = False

    def version(self):
        """With the commit, where the sources are a repository."""
        commit = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
        return f"{super().version()} ({commit})" if commit else super().version()


class Rustic(Restic):
    name = RUSTIC

    def environment(self, scratch):
        return {"RUSTIC_PASSWORD": PASSWORD, "RUSTIC_CACHE_DIR": f"{scratch}/cache-{self.name}", "RUSTIC_NO_PROGRESS": "true"}

    def prepare(self, repository, folder):
        """It takes the options of an object store from a profile only, and looks for profiles in the folder it runs in."""
        if not repository.is_local:
            options = {"endpoint": repository.endpoint, "bucket": repository.bucket, "root": f"/{repository.prefix}", "region": "us-east-1"}
            lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
            profile = '[repository]\nrepository = "opendal:s3"\n\n[repository.options]\n' + "\n".join(lines) + "\n"
            (folder / "bench.toml").write_text(profile)

    def command(self, repository, operation, *arguments):
        where = ["-r", repository.url, "--no-cache"] if repository.is_local else ["-P", "bench"]
        return [*self.program, *where, operation, *arguments]

    def restore(self, repository, target):
        return self.command(repository, "restore", "latest", str(target))

    def prune(self, repository):
        # Else it only marks what it would remove a day later.
        return self.command(repository, "prune", "--instant-delete")


class Judge(Restic):
    """Stock restic, asked about every program's repository, because the format is one. It leaves no cache for others to find."""

    name = "judge"

    def command(self, repository, operation, *arguments):
        return [*self.program, operation, "-r", repository.url, "--no-cache", *arguments]

    def snapshots(self, repository, environment):
        """Ids, the oldest first."""
        listed = self._ask(self.command(repository, "snapshots", "--json", "--no-lock"), environment)
        return [snapshot["id"] for snapshot in sorted(json.loads(listed), key=lambda snapshot: snapshot["time"])]

    def verify(self, repository, environment):
        """Reads and verifies every byte."""
        self._ask(self.check(repository), environment)

    @staticmethod
    def _ask(command, environment):
        result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if result.returncode != 0:
            raise Failed(f"{shlex.join(command)}: exit status {result.returncode}\n{(result.stdout + result.stderr)[-2000:].strip()}")
        return result.stdout


def find(name, variable, *folders):
    """A program: by a variable, in one of the folders, or in the path; none if it is nowhere."""
    named = os.environ.get(variable)
    if named:
        return named
    return next((found for folder in (*folders, None) if (found := shutil.which(name, path=folder))), None)
