#!/usr/bin/env python3
"""A TCP proxy that adds latency, as a far store has it.

usage: latency.py SERVER_PORT MILLISECONDS    passes connections on to 127.0.0.1:SERVER_PORT; prints its own port
       latency.py --measure MILLISECONDS      prints what it does to a connection, as JSON

Every byte is passed on half the milliseconds after it came, in either direction, so a request and its answer take all of
them. A new connection carries its first byte one round trip later, which is what TCP's handshake costs over distance.
What is under way is bounded as by TCP's window; nothing else is limited.
"""

import collections
import json
import selectors
import socket
import subprocess
import sys
import threading
import time

CHUNK = 256 << 10
# Bytes under way in one direction of one connection: 1.6 GB/s at 10 ms, so that the window is not what is measured.
WINDOW = 16 << 20


class Line:
    """One direction of a connection."""

    def __init__(self, source, sink, opened, delay):
        self.source, self.sink, self.opened, self.delay = source, sink, opened, delay
        self.under_way = collections.deque()  # of (when due, bytes), the last with no bytes when the source has ended
        self.held = 0
        self.ended = self.blocked = self.done = False

    def wants_to_read(self):
        return not self.ended and self.held < WINDOW

    def read(self):
        data = self.source.recv(CHUNK)
        self.ended = not data
        self.held += len(data)
        self.under_way.append((max(time.monotonic(), self.opened) + self.delay, data))

    def pass_on(self, now):
        """Sends what is due; when the next is due, or None."""
        self.blocked = False
        while self.under_way:
            due, data = self.under_way[0]
            if due > now:
                return due
            if not data:
                self.sink.shutdown(socket.SHUT_WR)
                self.done = True
                self.under_way.clear()
                return None
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                self.blocked = True
                return None
            self.held -= sent
            if sent < len(data):
                self.under_way[0] = (due, memoryview(data)[sent:])
            else:
                self.under_way.popleft()
        return None


class Connection:
    def __init__(self, client, server_port, delay):
        server = socket.create_connection(("127.0.0.1", server_port))
        opened = time.monotonic() + 2 * delay
        self.lines = (Line(client, server, opened, delay), Line(server, client, opened, delay))
        self.interest = {client: 0, server: 0}
        for side in self.interest:
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pass_on(self, now):
        dues = [line.pass_on(now) for line in self.lines]
        return min((due for due in dues if due is not None), default=None)

    def is_done(self):
        return all(line.done for line in self.lines)

    def watch(self, selector):
        for line, back in (self.lines, self.lines[::-1]):
            wanted = selectors.EVENT_READ * line.wants_to_read() | selectors.EVENT_WRITE * back.blocked
            if wanted == self.interest[line.source]:
                continue
            if not self.interest[line.source]:
                selector.register(line.source, wanted, (self, line))
            elif not wanted:
                selector.unregister(line.source)
            else:
                selector.modify(line.source, wanted, (self, line))
            self.interest[line.source] = wanted

    def close(self, selector):
        for side, interest in self.interest.items():
            if interest:
                selector.unregister(side)
            side.close()


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener.setblocking(False)
    return listener


def serve(listener, server_port, milliseconds):
    """Until the process ends."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    connections, next_due = set(), None
    while True:
        for key, events in selector.select(None if next_due is None else max(0, next_due - time.monotonic())):
            if key.fileobj is listener:
                accept(listener, server_port, milliseconds / 2000, connections)
            elif events & selectors.EVENT_READ:
                connection, line = key.data
                try:
                    line.read()
                except BlockingIOError:
                    pass
                except OSError:
                    drop(connection, connections, selector)
        next_due = pass_on(connections, selector)


def accept(listener, server_port, delay, connections):
    try:
        connections.add(Connection(listener.accept()[0], server_port, delay))
    except OSError as error:  # a client that has left again, or a server that is gone: the client sees its end
        print(f"a connection could not be made: {error}", file=sys.stderr)


def pass_on(connections, selector):
    """Sends everything that is due; when the next thing is."""
    dues, now = [], time.monotonic()
    for connection in list(connections):
        try:
            due = connection.pass_on(now)
        except OSError:  # one side has gone; the other is told so
            drop(connection, connections, selector)
            continue
        if connection.is_done():
            drop(connection, connections, selector)
            continue
        connection.watch(selector)
        if due is not None:
            dues.append(due)
    return min(dues, default=None)


def drop(connection, connections, selector):
    if connection in connections:
        connections.remove(connection)
        connection.close(selector)


def measure(milliseconds, size=512 << 20):
    """Round trip and throughput of one connection through the proxy, against a server that answers a byte with `size` bytes."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer():
        block = bytes(1 << 20)
        with server, server.accept()[0] as asked:
            while asked.recv(1) == b"1":
                asked.sendall(b"1")
            for _ in range(0, size, len(block)):
                asked.sendall(block)

    threading.Thread(target=answer, daemon=True).start()
    proxy = subprocess.Popen([sys.executable, __file__, str(server.getsockname()[1]), str(milliseconds)], stdout=subprocess.PIPE)
    try:
        return time_connection(int(proxy.stdout.readline()), size)
    finally:
        proxy.kill()
        proxy.wait()
        proxy.stdout.close()


def time_connection(port, size):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        trips = []
        for _ in range(20):
            started = time.monotonic()
            connection.sendall(b"1")
            connection.recv(1)
            trips.append(time.monotonic() - started)
        started, received, buffer = time.monotonic(), 0, bytearray(1 << 20)
        connection.sendall(b"2")
        while received < size:
            received += connection.recv_into(buffer)
        took = time.monotonic() - started
    # The first trip includes the handshake.
    return {"first_trip_ms": round(trips[0] * 1000, 1), "round_trip_ms": round(sorted(trips)[10] * 1000, 1), "mb_per_s": round(size / took / 1e6)}


def main():
    if sys.argv[1] == "--measure":
        print(json.dumps(measure(float(sys.argv[2]))))
        return
    listener = listen()
    print(listener.getsockname()[1], flush=True)
    serve(listener, int(sys.argv[1]), float(sys.argv[2]))


if __name__ == "__main__":
    main()
