"""Runs a program and says what it took; compares what came back with what went in."""

import os
import subprocess
import threading
import time
from dataclasses import dataclass


class Failed(Exception):
    """A program did not do what it was asked; the message ends with its last words."""


@dataclass
class Cost:
    # Seconds, seconds of all cores together, bytes.
    wall: float = 0.0
    cpu: float = 0.0
    peak_rss: int = 0

    def __add__(self, other):
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.peak_rss, other.peak_rss))


def run(command, environment, folder, log, seconds=3600):
    """Runs it to its end and returns its Cost. Its peak is never below this process's own size: a process starts as its
    parent, so whoever measures must stay small, and leaves what takes memory to processes of their own."""
    with open(log, "ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        began = output.tell()
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        watch = threading.Timer(seconds, process.kill)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            watch.cancel()
        wall = time.monotonic() - started
    # It has been waited for behind the object's back.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        late = f" (ended after {seconds} s)" if wall >= seconds else ""
        raise Failed(f"{' '.join(command)}: exit status {process.returncode}{late}\n{last_words(log, began)}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def last_words(log, began, size=2000):
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(began, file.tell() - size))
        return file.read().decode(errors="replace").strip()


def compare(original, restored):
    """Byte by byte, by a program that is not ours; no speed counts for wrong bytes."""
    result = subprocess.run(["diff", "--recursive", "--brief", "--no-dereference", original, restored], capture_output=True, text=True)
    if result.returncode != 0:
        lines = (result.stdout + result.stderr).splitlines()
        raise Failed(f"{restored} differs from {original} in {len(lines)} places:\n" + "\n".join(lines[:10]))


def cpu_of(pid):
    """Seconds that a running process has computed so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        # The second field is the program's name, in brackets, and may hold anything.
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def size_of(folder):
    """Bytes of all files below."""
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(folder) for name in names)
