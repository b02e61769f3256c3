"""Follows kinds of objects in a namespace: every event is told at once, with the time of this machine's clock."""

import threading
import time

from measure import Failed

# A watch that breaks is taken up again where it was; one that never comes about is a fault.
MOST_FAILURES = 20
PAUSE, SHORT_PAUSE = 0.2, 0.02
FIRST_LIST_SECONDS = 60


class Watch:
    """Tells `see(time, kind, object)` of everything there is and of every change, and lets others wait for what it makes of it."""

    def __init__(self, kube, namespace, kinds, see):
        self.kube, self.namespace, self.kinds, self.see = kube, namespace, kinds, see
        self.changed = threading.Condition()
        self.stopping, self.listed, self.failure = threading.Event(), set(), None
        self.enders, self.threads = {}, []

    def __enter__(self):
        self.threads = [threading.Thread(target=self._follow, args=(kind,), daemon=True) for kind in self.kinds]
        for thread in self.threads:
            thread.start()
        try:
            # Whatever is made from here on is seen from its beginning.
            self.until(lambda: len(self.listed) == len(self.kinds), FIRST_LIST_SECONDS, f"the first list of {', '.join(self.kinds)}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for end in list(self.enders.values()):
            try:
                end()
            except OSError:
                # It has ended by itself.
                pass
        for thread in self.threads:
            thread.join(5)

    def until(self, holds, seconds, what):
        """Waits until what was seen makes `holds` true, and returns what that says."""
        with self.changed:
            self.changed.wait_for(lambda: self.failure or holds(), seconds)
            if self.failure:
                raise Failed(f"namespace {self.namespace} can no longer be watched: {self.failure}")
            found = holds()
        if not found:
            raise Failed(f"waited {seconds} s in vain for {what} in namespace {self.namespace}")
        return found

    def _follow(self, kind):
        version, failures = None, 0
        while not self.stopping.is_set():
            try:
                if version is None:
                    version = self._list(kind)
                for event in self.kube.stream(kind, self.namespace, version, lambda end: self._opened(kind, end)):
                    if event["type"] == "ERROR":
                        # Mostly a version that is too old: all is listed anew.
                        version = None
                        break
                    version, failures = event["object"]["metadata"]["resourceVersion"], 0
                    if event["type"] != "DELETED":
                        self._tell(kind, [event["object"]])
                    if self.stopping.is_set():
                        return
            # Whatever it is, others wait for this thread: they must hear of it.
            except Exception as error:
                version, failures = None, failures + 1
                if failures > MOST_FAILURES and not self.stopping.is_set():
                    with self.changed:
                        self.failure = f"{kind}: {error!r}"
                        self.changed.notify_all()
                    return
            self.stopping.wait(PAUSE if failures else SHORT_PAUSE)

    def _opened(self, kind, end):
        self.enders[kind] = end
        # Whoever leaves just now may have looked for it too early.
        if self.stopping.is_set():
            end()

    def _list(self, kind):
        found = self.kube.list(kind, self.namespace)
        self._tell(kind, found["items"])
        with self.changed:
            self.listed.add(kind)
            self.changed.notify_all()
        return found["metadata"]["resourceVersion"]

    def _tell(self, kind, objects):
        at = time.monotonic()
        with self.changed:
            for one in objects:
                self.see(at, kind, one)
            self.changed.notify_all()
