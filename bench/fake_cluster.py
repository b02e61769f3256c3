"""For tests: an API server that keeps what it is given, and plays workloads, storages and sessions behind it."""

import datetime
import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import manifests
from kube import KINDS, Kube

KIND_OF = {plural: kind for kind, (_, plural) in KINDS.items()}
PEAK = 77 << 20
RUNNING_SECONDS = 0.2


class FakeCluster(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, state):
        super().__init__(("127.0.0.1", 0), Handler)
        self.state, self.changed = Path(state), threading.Condition()
        self.objects, self.history, self.watching = {}, [], 0
        # What a test breaks: requests that are refused, and whether watches are cut after each event.
        self.refused, self.cuts = {}, False
        self.phase = "Succeeded"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def kube(self):
        return Kube(f"http://127.0.0.1:{self.server_port}")

    def put(self, kind, found, event=None):
        metadata = found["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        with self.changed:
            known = self.objects.get(key)
            metadata.setdefault("uid", known["metadata"]["uid"] if known else f"uid-{len(self.history)}")
            metadata["resourceVersion"] = str(len(self.history) + 1)
            self.objects[key] = found
            self.history.append((event or ("MODIFIED" if known else "ADDED"), kind, key[1], json.loads(json.dumps(found))))
            self.changed.notify_all()
        return found

    def remove(self, key):
        with self.changed:
            gone = self.objects.pop(key, None)
            for other in [other for other in self.objects if key[0] == "Namespace" and other[1] == key[2]]:
                self.remove(other)
            if gone:
                gone["metadata"]["resourceVersion"] = str(len(self.history) + 1)
                self.history.append(("DELETED", key[0], key[1], gone))
                self.changed.notify_all()
        return gone

    def react(self, kind, made):
        """What controllers would do."""
        space = made["metadata"].get("namespace", "")
        if kind == "Deployment":
            self.put(kind, {**made, "status": {"readyReplicas": 1}})
        elif kind in ("BackupStorage", "BackupConfiguration"):
            self.put(kind, {**made, "status": {"phase": "Ready"}})
        if kind == "BackupConfiguration":
            session = manifests.backup_session(space, "initial", made["metadata"]["uid"])
            session["metadata"]["annotations"]["orlop.dev/triggered-by"] = "initial"
            self.react("BackupSession", self.put("BackupSession", session))
        elif kind in ("BackupSession", "RestoreSession"):
            threading.Thread(target=self.run_session, args=(kind, made), daemon=True).start()

    def run_session(self, kind, session):
        metadata = session["metadata"]
        space, name, labels = metadata["namespace"], metadata["name"], {"orlop.dev/session-uid": metadata["uid"]}
        self.put(kind, {**session, "status": {"phase": "Running"}})
        job = self.put("Job", manifests.named("batch/v1", "Job", space, f"{name}-job"))
        job["metadata"]["labels"] = labels
        self.put("Job", job)
        pod = manifests.named("v1", "Pod", space, f"{name}-pod", spec={}, status={})
        pod["metadata"].update(labels=labels, ownerReferences=[{"kind": "Job", "uid": job["metadata"]["uid"], "name": name}])
        self.put("Pod", pod)
        self.put("Pod", {**pod, "spec": {"nodeName": "node1"}})
        time.sleep(RUNNING_SECONDS)
        folder = self.state / "node1" / "pod-logs" / f"{space}_{pod['metadata']['name']}_{pod['metadata']['uid']}" / "mover"
        folder.mkdir(parents=True)
        log = folder / "0.log"
        say(log, message="telemetry started")
        say(log, message="attached", targets=1)
        self.move(kind, space)
        say(log, message="work ended", peak_memory_bytes=PEAK)
        self.put(kind, {**session, "status": {"phase": self.phase, "snapshots": [{"name": f"snapshot-{name}"}]}})
        ended = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {}}}]}
        self.put("Pod", {**pod, "spec": {"nodeName": "node1"}, "status": ended})

    def move(self, kind, space):
        def folder(claim):
            return Path(self.objects["PersistentVolume", "", manifests.volume_name(space, claim)]["spec"]["local"]["path"])

        s3 = self.objects["BackupStorage", space, manifests.STORAGE]["spec"]["storage"]["s3"]
        stored = self.state / "s3" / "data" / s3["bucket"] / s3["prefix"] / manifests.REPOSITORY_PATH / "data"
        source, target = (folder(manifests.SOURCE), stored) if kind == "BackupSession" else (stored, folder(manifests.RESTORED))
        shutil.copytree(source, target, dirs_exist_ok=True)


def say(log, **fields):
    now = datetime.datetime.now(datetime.timezone.utc)
    with log.open("a") as file:
        file.write(f"{now:%Y-%m-%dT%H:%M:%S.%f}123Z stdout F {json.dumps(fields)}\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # As the real one: an event is not to wait for the acknowledgement of the one before.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_any(self):
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        kind, space, name = place_of(address.path)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        cluster = self.server
        if refusal := cluster.refused.get((self.command, kind)):
            return self.answer(*refusal)
        if address.path == "/version":
            return self.answer(200, {"gitVersion": "v0"})
        if self.command in ("POST", "PATCH"):
            made = cluster.put(kind, body)
            cluster.react(kind, made)
            return self.answer(200, made)
        if self.command == "DELETE":
            gone = cluster.remove((kind, space, name))
            return self.answer(200 if gone else 404, gone or {"message": "not found"})
        if "watch" in query:
            return self.stream(kind, space, int(query["resourceVersion"]))
        if name:
            found = cluster.objects.get((kind, space, name))
            return self.answer(200 if found else 404, found or {"message": f"{name} not found"})
        with cluster.changed:
            items = [found for key, found in cluster.objects.items() if key[:2] == (kind, space)]
            return self.answer(200, {"items": items, "metadata": {"resourceVersion": str(len(cluster.history))}})

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    def answer(self, status, found):
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def stream(self, kind, space, version):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cluster = self.server
        try:
            while True:
                with cluster.changed:
                    cluster.changed.wait_for(lambda: len(cluster.history) > version, 0.5)
                    fresh, version = cluster.history[version:], len(cluster.history)
                for event, of_kind, of_space, found in fresh:
                    if (of_kind, of_space) == (kind, space):
                        line = json.dumps({"type": event, "object": found}).encode() + b"\n"
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        if cluster.cuts:
                            self.wfile.write(b"0\r\n\r\n")
                            self.close_connection = True
                            return
                self.wfile.flush()
        except OSError:
            # The watcher has left.
            self.close_connection = True


def place_of(path):
    """Kind, namespace and name."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    space = ""
    if len(parts) > 2:
        space, parts = parts[1], parts[2:]
    return KIND_OF.get(parts[0]) if parts else None, space, parts[1] if len(parts) > 1 else ""
