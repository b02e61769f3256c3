"""Bytes of the benchmark's data: the same on every machine and on every day, and quick to make.

Everything is drawn from SHAKE-128 over a label, so that a piece is made again from its name alone. Compressible text is
put together from prepared pieces; joining them costs a few tens of nanoseconds a line, which formatting each would not.
"""

import functools
import hashlib
import itertools
from array import array

# Pieces of each kind: more than a chunk of a backup holds lines, so that few repeat within what a compressor sees.
PIECES = 1 << 16
# The least that a line of `Log` takes up, so that enough lines are drawn.
SHORTEST_LINE = 150


def noise(label, size):
    """`size` bytes that no compressor makes smaller."""
    return hashlib.shake_128(label.encode()).digest(size)


def numbers(label, count, code="I"):
    """`count` numbers, of 32 bits unless another array code says otherwise."""
    drawn = array(code)
    drawn.frombytes(noise(label, count * drawn.itemsize))
    return drawn


class Log:
    """Lines as a busy service writes them: in order of time, each with an id of its own; zstd stores a quarter of them."""

    SERVICES = ("gateway", "orders", "inventory", "payments", "mailer", "search", "sessions", "reports")
    LEVELS = ("INFO",) * 12 + ("DEBUG",) * 3 + ("WARN",)
    PATHS = ("api/v1/orders", "api/v1/customers", "api/v2/items", "static/img", "login", "health", "api/v1/invoices", "search")
    EVENTS = ("request finished", "cache missed, asked the database", "retrying after a timeout", "session renewed")

    def __init__(self):
        self.seconds = [b"%02d.%03dZ " % divmod(millisecond, 1000) for millisecond in range(60_000)]
        self.messages = [self._message(*drawn) for drawn in _groups(numbers("log messages", PIECES * 4), 4)]
        self.ids = [b" trace=%08x%08x%08x client=10.%d.%d.%d\n" % (a, b, c, d >> 8 & 15, d >> 16 & 255, d >> 24) for a, b, c, d in _groups(numbers("log ids", PIECES * 4), 4)]

    def _message(self, a, b, c, d):
        level, service = self.LEVELS[a % 16], self.SERVICES[a >> 8 & 7]
        status = (200, 200, 200, 200, 200, 304, 404, 503)[b & 7]
        return b"%-5s %-9s %s method=GET path=/%s/%d status=%d duration_ms=%d" % (
            level.encode(), service.encode(), self.EVENTS[a >> 16 & 3].encode(), self.PATHS[b >> 8 & 7].encode(), c % 100_000, status, d % 2_000)

    def text(self, label, size):
        """Exactly `size` bytes of log; the last line may be cut."""
        count = size // SHORTEST_LINE + 1
        picks = numbers(label, 2 * count, "H")
        # A line every few milliseconds; a minute wraps around.
        times = itertools.accumulate(noise(f"{label} times", count), lambda time, step: (time + (step & 7)) % 60_000)
        minute = b"2026-%02d-%02dT%02d:%02d:" % (picks[0] % 12 + 1, picks[1] % 28 + 1, picks[0] % 24, picks[1] % 60)
        pieces = [minute] * (4 * count)
        pieces[1::4] = map(self.seconds.__getitem__, times)
        pieces[2::4] = map(self.messages.__getitem__, picks[:count])
        pieces[3::4] = map(self.ids.__getitem__, picks[count:])
        return b"".join(pieces)[:size]


def _groups(drawn, size):
    return zip(*(drawn[offset::size] for offset in range(size)))


@functools.cache
def log():
    """The one Log: its pieces take a while to make."""
    return Log()
