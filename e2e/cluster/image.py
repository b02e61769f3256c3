#!/usr/bin/env python3
"""Builds one OCI image archive from files, without a container engine.

usage: image.py OUT NAME:TAG [--entrypoint A,B] [--command A,B] [--user U] [--env K=V] [--folder DIR] [--architecture A] [FILE=/DESTINATION[:MODE] | /LINK@TARGET] ...

One layer; same input, same digest. `ctr images import`, `skopeo copy oci-archive:...` and every registry take the result.
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile

MEDIA = "application/vnd.oci.image."
# Folders that programs expect in any root file system, with their modes.
COMMON_FOLDERS = {"tmp": 0o1777, "etc": 0o755, "proc": 0o755, "sys": 0o755, "dev": 0o755, "var": 0o755, "var/run": 0o755}


class Layer:
    """A tar stream whose entries carry neither owners nor times of the machine that built it."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.archive = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)
        self.folders = set()

    def neutral(self, entry):
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    def folder(self, path, mode=0o755):
        path = path.strip("/")
        if not path or path in self.folders:
            return
        self.folder(os.path.dirname(path))
        self.folders.add(path)
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self.archive.addfile(self.neutral(entry))

    def file(self, source, destination, mode=None):
        self.folder(os.path.dirname(destination))
        entry = self.archive.gettarinfo(os.path.realpath(source), arcname=destination.strip("/"))
        entry.type, entry.linkname = tarfile.REGTYPE, ""
        entry.mode = mode if mode is not None else entry.mode & 0o777
        with open(source, "rb") as content:
            entry.size = os.fstat(content.fileno()).st_size
            self.archive.addfile(self.neutral(entry), content)

    def link(self, destination, target):
        self.folder(os.path.dirname(destination))
        entry = tarfile.TarInfo(destination.strip("/"))
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self.archive.addfile(self.neutral(entry))

    def bytes(self):
        self.archive.close()
        return self.buffer.getvalue()


def fill(layer, options):
    for path, mode in COMMON_FOLDERS.items():
        layer.folder(path, mode)
    for folder in options.folder:
        layer.archive.add(folder, arcname=".", filter=layer.neutral)
    for item in options.files:
        if "=" in item:
            source, destination = item.split("=", 1)
            destination, _, mode = destination.partition(":")
            layer.file(source, destination, int(mode, 8) if mode else None)
        else:
            layer.link(*item.split("@", 1))


def write_archive(options, layer):
    blobs = {}

    def store(content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": MEDIA + media_type, "digest": "sha256:" + digest, "size": len(content)}

    def encode(value):
        return json.dumps(value, sort_keys=True).encode()

    configuration = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *options.env], "User": options.user}
    if options.entrypoint:
        configuration["Entrypoint"] = options.entrypoint.split(",")
    if options.command:
        configuration["Cmd"] = options.command.split(",")
    # Level 1: these images travel over loopback, so the seconds of compression count for more than the bytes.
    layers = [store(gzip.compress(layer, 1, mtime=0), "layer.v1.tar+gzip")]
    config = store(encode({"architecture": options.architecture, "os": "linux", "config": configuration,
                           "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}), "config.v1+json")
    manifest = store(encode({"schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json", "config": config, "layers": layers}), "manifest.v1+json")
    annotations = {"io.containerd.image.name": options.name, "org.opencontainers.image.ref.name": options.name.rsplit(":", 1)[1]}
    index = {"schemaVersion": 2, "manifests": [{**manifest, "platform": {"architecture": options.architecture, "os": "linux"}, "annotations": annotations}]}
    entries = [("oci-layout", encode({"imageLayoutVersion": "1.0.0"})), ("index.json", encode(index))]
    entries += [("blobs/sha256/" + digest, content) for digest, content in sorted(blobs.items())]
    with tarfile.open(options.out + ".part", "w") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    os.replace(options.out + ".part", options.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--entrypoint")
    parser.add_argument("--command")
    parser.add_argument("--user", default="")
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--architecture", default="amd64")
    options = parser.parse_intermixed_args()
    layer = Layer()
    fill(layer, options)
    write_archive(options, layer.bytes())


if __name__ == "__main__":
    main()
