"""The parts that measure: data, proxy, processes, commands, and the guard's judgement."""

import hashlib
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import data
import latency
import measure
import quick
import results
import results_test
from content import log
from measure import Cost, Failed
from rows import OURS, RESTIC, Row
from stores import Local, Repository
from tools import DataMover, Restic, Rustic

SCALE = 0.002


def digest(folder):
    """Names and bytes of everything below."""
    whole = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        whole.update(str(path.relative_to(folder)).encode())
        whole.update(path.read_bytes() if path.is_file() else b"/")
    return whole.hexdigest()


class Data(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    def make(self, name, at, scale=SCALE):
        data.provide(name, self.scratch / at, scale)
        return self.scratch / at

    def test_the_same_bytes_come_out_every_time(self):
        for name in data.SETS:
            self.assertEqual(digest(self.make(name, f"{name}-1")), digest(self.make(name, f"{name}-2")), name)

    def test_sizes_and_counts_are_those_of_the_scale(self):
        small = [path.stat().st_size for path in self.make("small", "small").rglob("*") if path.is_file()]
        self.assertEqual(len(small), 400)
        self.assertGreaterEqual(min(small), 512)
        self.assertLessEqual(max(small), 16 << 10)
        for name, count in (("text", 16), ("big", 8), ("vm", 1)):
            sizes = [path.stat().st_size for path in self.make(name, name).iterdir()]
            self.assertEqual(len(sizes), count)
            self.assertAlmostEqual(sum(sizes) / (2 * data.GIB * SCALE), 1, delta=0.05)

    def test_a_change_is_undone_to_the_byte_and_each_generation_differs(self):
        # Every tenth extent of an image changes, so it must have more than a few.
        for name, scale in (("small", SCALE), ("vm", 0.02)):
            folder = self.make(name, name, scale)
            seen = [digest(folder)]
            for generation in (1, 2):
                data.change(name, folder, scale, generation)
                seen.append(digest(folder))
                self.assertFalse(data.mark_of(folder).exists(), "a changed set passes for a new one")
                data.undo(name, folder, scale, generation)
                self.assertEqual(digest(folder), seen[0], name)
            self.assertEqual(len(set(seen)), 3, name)

    def test_a_set_that_was_left_changed_is_made_again(self):
        folder = self.make("vm", "vm")
        before = digest(folder)
        data.change("vm", folder, SCALE, 1)
        self.assertEqual(digest(self.make("vm", "vm")), before)

    def test_log_text_has_the_size_that_was_asked_for_and_whole_lines(self):
        for size in (1, 1000, 1 << 20):
            self.assertEqual(len(log().text("x", size)), size)
        lines = log().text("x", 1 << 20).splitlines()
        self.assertEqual(len(set(lines)), len(lines), "lines repeat")
        self.assertTrue(all(len(line) >= 149 for line in lines[:-1]), "fewer lines are drawn than fit")


class Latency(unittest.TestCase):
    def test_a_round_trip_takes_the_time_and_a_new_connection_another(self):
        measured = latency.measure(20, size=8 << 20)
        self.assertGreaterEqual(measured["round_trip_ms"], 20)
        self.assertLess(measured["round_trip_ms"], 40)
        self.assertGreaterEqual(measured["first_trip_ms"], 40)

    def test_bytes_arrive_whole_and_in_order_and_ends_are_passed_on(self):
        sent = bytes(range(256)) * (40 << 10)
        with socket.create_server(("127.0.0.1", 0)) as server:
            def echo():
                connection = server.accept()[0]
                received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
                connection.sendall(received[::-1])
                connection.close()

            threading.Thread(target=echo, daemon=True).start()
            proxy = subprocess.Popen([sys.executable, latency.__file__, str(server.getsockname()[1]), "5"], stdout=subprocess.PIPE)
            try:
                with socket.create_connection(("127.0.0.1", int(proxy.stdout.readline()))) as client:
                    client.settimeout(30)
                    client.sendall(sent)
                    client.shutdown(socket.SHUT_WR)
                    received = b"".join(iter(lambda: client.recv(1 << 20), b""))
            finally:
                proxy.kill()
                proxy.wait()
                proxy.stdout.close()
        self.assertEqual(received, sent[::-1])


class Measure(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    def run_python(self, program, **more):
        return measure.run([sys.executable, "-c", program], dict(os.environ), self.scratch, self.scratch / "log", **more)

    def test_time_cpu_and_memory_are_the_childs(self):
        idle = self.run_python("import time; time.sleep(0.3)")
        self.assertGreaterEqual(idle.wall, 0.3)
        self.assertLess(idle.cpu, 0.3)
        busy = self.run_python("import time\nwhile time.process_time() < 0.3: pass\nx = b'1' * (96 << 20)")
        self.assertGreaterEqual(busy.cpu, 0.3)
        self.assertGreater(busy.peak_rss, 96 << 20)
        self.assertLess(busy.peak_rss, 192 << 20)

    def test_costs_add_up_and_peaks_do_not(self):
        self.assertEqual(Cost(1, 2, 30) + Cost(4, 5, 20), Cost(5, 7, 30))

    def test_a_failure_carries_the_last_words(self):
        with self.assertRaisesRegex(Failed, "exit status 3\nout of luck"):
            self.run_python("import sys; print('out of luck'); sys.exit(3)")

    def test_a_program_that_hangs_is_ended(self):
        started = time.monotonic()
        with self.assertRaisesRegex(Failed, "ended after"):
            self.run_python("import time; time.sleep(60)", seconds=0.3)
        self.assertLess(time.monotonic() - started, 30)

    def test_wrong_missing_and_additional_files_are_found(self):
        for name in ("original", "restored"):
            (self.scratch / name).mkdir()
            (self.scratch / name / "file").write_bytes(b"right")
            (self.scratch / name / "link").symlink_to("file")
        original, restored = self.scratch / "original", self.scratch / "restored"
        measure.compare(original, restored)
        for damage in (lambda: (restored / "file").write_bytes(b"wrong"), lambda: (restored / "file").unlink(), lambda: (restored / "more").write_bytes(b"")):
            damage()
            with self.assertRaises(Failed):
                measure.compare(original, restored)
            (restored / "more").unlink(missing_ok=True)
            (restored / "file").write_bytes(b"right")
        measure.compare(original, restored)

    def test_the_size_of_a_repository_is_that_of_its_files(self):
        (self.scratch / "a" / "b").mkdir(parents=True)
        (self.scratch / "a" / "b" / "c").write_bytes(b"12345")
        (self.scratch / "a" / "d").write_bytes(b"678")
        self.assertEqual(measure.size_of(self.scratch / "a"), 8)


class Commands(unittest.TestCase):
    local = Repository("/r", Path("/r"))
    remote = Repository("s3:http://h/b/p", Path("/s/b/p"), False, "http://h", "b", "p")

    def test_ours_and_restics_differ_in_the_cache_only(self):
        ours, restic = DataMover("data-mover"), Restic("restic")
        for ask in (lambda tool: tool.init(self.remote), lambda tool: tool.backup(self.remote, "/d"), lambda tool: tool.restore(self.remote, "/t"),
                    lambda tool: tool.check(self.remote), lambda tool: tool.forget(self.remote, ["1", "2"]), lambda tool: tool.prune(self.remote), lambda tool: tool.open(self.remote)):
            self.assertEqual(ask(ours)[1:], ask(restic)[1:])
        self.assertEqual(restic.backup(self.local, "/d"), ["restic", "backup", "-r", "/r", "--no-cache", "/d"])
        self.assertEqual(ours.backup(self.local, "/d"), ["data-mover", "backup", "-r", "/r", "/d"])

    def test_rustic_finds_the_object_store_in_a_profile(self):
        with tempfile.TemporaryDirectory() as folder:
            rustic = Rustic("rustic")
            rustic.prepare(self.remote, Path(folder))
            self.assertIn('root = "/p"', Path(folder, "bench.toml").read_text())
            self.assertEqual(rustic.restore(self.remote, "/t"), ["rustic", "-P", "bench", "restore", "latest", "/t"])


class Guard(unittest.TestCase):
    def complaints(self, ours, restic, opening=1, **more):
        """Of a mover that takes `ours` seconds for everything but opening."""
        walls = {OURS: ours, RESTIC: restic}
        runs = [results_test.run(*row.key, tool, opening if row.work == "open" else opening + wall, **more) for row in quick.QUICK_ROWS for tool, wall in walls.items()]
        return quick.complaints(results.summarise(results_test.result(runs=runs), quick.QUICK_ROWS))

    def test_it_allows_more_than_the_bar_and_less_than_no_gain(self):
        for row in quick.QUICK_ROWS:
            if row.most is not None:
                self.assertGreater(quick.allowed(row), row.most)
                self.assertLessEqual(quick.allowed(row), 1.4)
        self.assertTrue(math.isclose(quick.allowed(Row("x", "first", most=1 / 4)), 0.7))

    def test_a_mover_as_slow_as_restic_fails_each_row_that_is_to_be_faster(self):
        faster = {row.key for row in quick.QUICK_ROWS if row.most is not None and row.most <= 0.5 and row.work != "prune"}
        self.assertEqual({row.key for row in self.complaints(10, 10)}, faster)
        self.assertEqual({row.key for row in self.complaints(10, 10, opening=100)}, faster, "the opening hides the work")

    def test_forget_and_prune_count_from_their_start(self):
        self.assertEqual(self.complaints(1, 10, opening=9), {})
        prune = {row.key for row in self.complaints(16, 10, opening=1)}
        self.assertIn(("vm", "prune"), prune)
        self.assertNotIn(("vm", "prune"), {row.key for row in self.complaints(16, 10, opening=20)})

    def test_a_fast_mover_passes_and_a_hungry_one_does_not(self):
        self.assertEqual(self.complaints(1, 10), {})
        self.assertEqual(len(self.complaints(1, 10, peak_rss=200 << 20)), len(quick.QUICK_ROWS))

    def test_what_is_too_short_to_be_told_from_nothing_passes(self):
        self.assertEqual(self.complaints(0.001, 0.3), {})

    def test_the_better_of_two_rounds_counts(self):
        walls = {("first", OURS): (12, 5), ("first", RESTIC): (11, 11), ("open", OURS): (1, 1), ("open", RESTIC): (1, 1)}
        runs = [results_test.run("text", work, tool, wall, number) for (work, tool), two in walls.items() for number, wall in enumerate(two, 1)]
        self.assertEqual(quick.complaints(results.summarise(results_test.result(runs=runs), quick.QUICK_ROWS)), {})
        once = [run for run in runs if run["round"] == 1]
        self.assertEqual(len(quick.complaints(results.summarise(results_test.result(runs=once), quick.QUICK_ROWS))), 1)


class Machine(unittest.TestCase):
    def test_the_machine_is_described(self):
        machine = results.machine(tempfile.gettempdir())
        self.assertGreater(machine["cores"], 0)
        self.assertGreater(machine["memory_bytes"], 64 << 20)
        self.assertTrue(all(machine[name] for name in ("model", "kernel", "file_system")))

    def test_a_local_store_is_empty_before_and_gone_after(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "repositories", "left over").mkdir(parents=True)
            with Local(Path(folder)) as store:
                self.assertEqual(list(store.root.iterdir()), [])
            self.assertEqual(list(Path(folder).iterdir()), [])


if __name__ == "__main__":
    unittest.main()
