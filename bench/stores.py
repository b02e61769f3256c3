"""Where repositories lie: a folder, an S3 server of our own, and the same server twenty milliseconds away."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from measure import Failed, cpu_of, size_of

LATENCY = Path(__file__).with_name("latency.py")
BUCKET = "bench"


@dataclass(frozen=True)
class Repository:
    # As restic writes it.
    url: str
    # Where its bytes lie on this machine.
    folder: Path
    is_local: bool = True
    endpoint: str = ""
    bucket: str = ""
    prefix: str = ""

    def size(self):
        return size_of(self.folder)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Local:
    name = "local"
    title = "A local repository"
    facts = {}

    def __init__(self, work):
        self.root = work / "repositories"

    def __enter__(self):
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root, ignore_errors=True)

    def repository(self, name):
        return Repository(str(self.root / name), self.root / name)

    def environment(self):
        return {}

    def cpu(self):
        """Seconds that the store itself has computed so far: on a small machine they are missing elsewhere."""
        return 0.0


class S3(Local):
    """versitygw over a folder, on a free port of the loopback interface."""

    name = "s3"
    title = "An S3 store on the same machine"
    latency = 0

    def __init__(self, work, gateway):
        super().__init__(work)
        self.gateway, self.log = gateway, work / f"{self.name}.log"
        self.processes, self.facts = [], {}
        self.access_key, self.secret_key = "bench", secrets.token_hex(16)

    def __enter__(self):
        super().__enter__()
        try:
            self.port = self._start_gateway()
            if self.latency:
                self.port = self._start_proxy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        super().__exit__()

    def repository(self, name):
        endpoint = f"http://127.0.0.1:{self.port}"
        return Repository(f"s3:{endpoint}/{BUCKET}/{name}", self.root / BUCKET / name, False, endpoint, BUCKET, name)

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1"}

    def cpu(self):
        return sum(cpu_of(process.pid) for process in self.processes)

    def _start_gateway(self):
        # A folder of the gateway's is a bucket.
        (self.root / BUCKET).mkdir()
        identities = self.root.with_name("identities")
        identities.mkdir(exist_ok=True)
        port = free_port()
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        command = [self.gateway, "--port", f"127.0.0.1:{port}", "--keep-alive", "--quiet", "--iam-dir", str(identities), "posix", str(self.root)]
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, env={**os.environ, **keys}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        await_port(port, process, self.log)
        return port

    def _start_proxy(self):
        with open(self.log, "ab") as log:
            process = subprocess.Popen([sys.executable, str(LATENCY), str(self.port), str(self.latency)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        self.processes.append(process)
        measured = subprocess.run([sys.executable, str(LATENCY), "--measure", str(self.latency)], capture_output=True, check=True)
        self.facts = json.loads(measured.stdout)
        return int(process.stdout.readline())


class FarS3(S3):
    name = "s3-latency"
    title = "An S3 store 20 ms away"
    latency = 20


STORES = {store.name: store for store in (Local, S3, FarS3)}
TITLES = {store.name: store.title for store in STORES.values()}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def await_port(port, process, log):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the S3 server does not answer on port {port}; its log is {log}") from error
            time.sleep(0.05)
