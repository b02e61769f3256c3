"""The Kubernetes API over HTTPS: as little of it as the benchmark needs, and without a program to start for each request."""

import base64
import http.client
import json
import socket
import ssl
import subprocess
import tempfile
import time
from urllib.parse import urlencode, urlsplit

from measure import Failed

FIELD_MANAGER = "orlop-bench"
# Of one request; a watch has its own.
ANSWER_SECONDS = 30
CORE, STORAGE = "apis/core.kubestash.com/v1alpha1", "apis/storage.kubestash.com/v1alpha1"
KINDS = {
    "Namespace": ("api/v1", "namespaces"),
    "PersistentVolume": ("api/v1", "persistentvolumes"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "Job": ("apis/batch/v1", "jobs"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "BackupStorage": (STORAGE, "backupstorages"),
    "RetentionPolicy": (STORAGE, "retentionpolicies"),
    "BackupConfiguration": (CORE, "backupconfigurations"),
    "BackupSession": (CORE, "backupsessions"),
    "RestoreSession": (CORE, "restoresessions"),
}


class Refused(Failed):
    """The API server's answer was no."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Kube:
    def __init__(self, server, context=None):
        self.address, self.context = urlsplit(server), context

    def get(self, kind, namespace, name):
        """None if it is not there."""
        try:
            return self.request("GET", path_of(kind, namespace, name))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind, namespace="", selector=""):
        """The list as the API server gives it: `items`, and `metadata` with the version from which a watch goes on."""
        return self.request("GET", path_of(kind, namespace, **({"labelSelector": selector} if selector else {})))

    def create(self, manifest):
        return self.request("POST", path_of(manifest["kind"], namespace_of(manifest)), manifest)

    def apply(self, manifest):
        path = path_of(manifest["kind"], namespace_of(manifest), manifest["metadata"]["name"], fieldManager=FIELD_MANAGER, force="true")
        return self.request("PATCH", path, manifest, "application/apply-patch+yaml")

    def delete(self, kind, namespace, name):
        """Asks for it; fine if it is gone."""
        try:
            self.request("DELETE", path_of(kind, namespace, name, propagationPolicy="Background"))
        except Refused as error:
            if error.status != 404:
                raise

    def until(self, kind, namespace, name, seconds, what, holds):
        """Asks again and again until `holds` of the object, or of None if there is none; not for what is measured."""
        deadline = time.monotonic() + seconds
        while not holds(found := self.get(kind, namespace, name)):
            if time.monotonic() > deadline:
                where = "/".join(part for part in (namespace, name) if part)
                raise Failed(f"waited {seconds} s in vain for {what}: {kind} {where} is {short_status(found)}")
            time.sleep(0.2)
        return found

    def request(self, method, path, body=None, content_type="application/json"):
        connection = self.connect(ANSWER_SECONDS)
        try:
            headers = {"Accept": "application/json", **({"Content-Type": content_type} if body is not None else {})}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{method} {self.address.geturl()}{path}: {error}: see that the cluster is up, and its logs") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise Refused(response.status, f"{method} {path}: {response.status} {message_of(text)}")
        return json.loads(text)

    def connect(self, seconds):
        host, port = self.address.hostname, self.address.port
        if self.address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=self.context)

    def stream(self, kind, namespace, version, opened):
        """Events of a watch from a version on, until the server ends it. `opened` gets a function that ends it from outside."""
        connection = self.connect(None)
        try:
            connection.connect()
            connected = connection.sock
            # Below TLS: its own farewell is not safe beside a reader in another thread.
            opened(lambda: socket.socket.shutdown(connected, socket.SHUT_RDWR))
            connection.request("GET", path_of(kind, namespace, watch="true", resourceVersion=version), headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status >= 400:
                raise Refused(response.status, f"watch of {kind}: {response.status} {message_of(response.read())}")
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()


def of_kubeconfig():
    """The cluster that KUBECONFIG names, with the client certificate that stands in it."""
    view = subprocess.run(["kubectl", "config", "view", "--raw", "--minify", "--output", "json"], capture_output=True, text=True)
    if view.returncode != 0:
        raise Failed(f"KUBECONFIG names no cluster: {view.stderr.strip()}; run bench/cluster.sh, which brings one up")
    config = json.loads(view.stdout)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    try:
        authority, certificate, key = (base64.b64decode(value).decode() for value in (
            cluster["certificate-authority-data"], user["client-certificate-data"], user["client-key-data"]))
    except KeyError as error:
        raise Failed(f"KUBECONFIG lacks {error}: the benchmark runs on the cluster that bench/cluster.sh brings up") from error
    context = ssl.create_default_context(cadata=authority)
    # The cluster's certificates are made by hand and lack what only strict readers ask for, as Python does from 3.13 on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"{certificate}\n{key}")
        file.flush()
        context.load_cert_chain(file.name)
    return Kube(cluster["server"], context)


def path_of(kind, namespace="", name="", **query):
    group, plural = KINDS[kind]
    parts = [group, *(["namespaces", namespace] if namespace else []), plural, *([name] if name else [])]
    return "/" + "/".join(parts) + (f"?{urlencode(query)}" if query else "")


def namespace_of(manifest):
    return manifest["metadata"].get("namespace", "")


def message_of(text):
    """What a Status object says, or whatever else came."""
    try:
        return json.loads(text).get("message", "")
    except (ValueError, AttributeError):
        return text[:500].decode(errors="replace").strip()


def short_status(found):
    """Phase, conditions that are False and errors of components: what a failure should show of an object."""
    if not found:
        return "not there"
    status = found.get("status", {})
    parts = [f"in phase {status.get('phase') or 'none'}"]
    parts += [f"{one['type']}={one['status']}: {one.get('message', '')}" for one in status.get("conditions", []) if one.get("status") != "True"]
    parts += [f"component {name}: {one['error']}" for name, one in (status.get("components") or {}).items() if one.get("error")]
    return "; ".join(parts)
