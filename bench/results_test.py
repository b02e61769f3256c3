"""Medians, ratios, verdicts, what may be published, and the page that shows them."""

import tempfile
import unittest
from pathlib import Path

import report
import results
from rows import OURS, RESTIC, ROWS, RUSTIC, rows_of

MIB = 1 << 20


def run(data, work, tool, wall, number=1, **more):
    return {"data": data, "work": work, "tool": tool, "round": number, "wall": wall, "cpu": wall / 2, "store_cpu": 0, "peak_rss": 90 * MIB,
            "repository_bytes": 500 * MIB, "commands": [f"{tool} {work}"], **more}


def result(store="local", runs=(), rounds=3, scale=1):
    machine = {"cores": 2, "model": "a processor", "memory_bytes": 8 << 30, "kernel": "Linux 6", "file_system": "ext4"}
    return {"schema": results.SCHEMA, "store": store, "date": "2026-01-02 03:04 UTC", "machine": machine, "versions": {OURS: "data-mover 1", RESTIC: "restic 2"},
            "settings": {"scale": {"text": scale}, "rounds": rounds}, "facts": {}, "notes": [], "runs": list(runs)}


def whole(store="local", ours=1.0, restic=10.0):
    return result(store, [run(*row.key, tool, wall, number) for row in rows_of(store) for tool, wall in ((OURS, ours), (RESTIC, restic)) for number in (1, 2, 3)])


class Figures(unittest.TestCase):
    def test_the_median_of_times_and_the_greatest_peak_count(self):
        figures = results.figures([run("text", "first", OURS, wall, peak_rss=peak) for wall, peak in ((3, 1), (1, 7), (2, 5))])
        self.assertEqual((figures.wall, figures.least, figures.most, figures.cpu, figures.peak_rss, figures.rounds), (2, 1, 3, 1, 7, 3))

    def test_of_two_rounds_the_median_lies_between(self):
        self.assertEqual(results.figures([run("text", "first", OURS, wall) for wall in (1, 4)]).wall, 2.5)

    def test_rows_come_in_their_order_whatever_the_order_of_the_runs(self):
        summaries = results.summarise(result(runs=[run("small", "first", OURS, 1), run("text", "first", OURS, 1)]))
        self.assertEqual([summary.row.title for summary in summaries], ["text, first", "small, first"])


class Verdicts(unittest.TestCase):
    def verdict(self, data, work, ours, restic):
        [summary] = results.summarise(result(runs=[run(data, work, OURS, ours), run(data, work, RESTIC, restic)]))
        return summary.verdict()

    def test_a_bar_is_a_share_of_restics_time(self):
        self.assertTrue(self.verdict("text", "first", 5, 10))
        self.assertFalse(self.verdict("text", "first", 5.01, 10))
        self.assertTrue(self.verdict("big", "restore", 10, 10))
        self.assertFalse(self.verdict("small", "unchanged", 2.1, 10))

    def test_without_a_bar_or_without_restic_there_is_none(self):
        self.assertIsNone(self.verdict("small", "check", 1, 10))
        [alone] = results.summarise(result(runs=[run("text", "first", OURS, 1)]))
        self.assertIsNone(alone.verdict())
        self.assertIsNone(alone.share())

    def test_a_session_may_take_longer_than_restic_where_its_bar_says_so(self):
        [summary] = results.summarise(result("cluster", [run("text", "restore", OURS, 6.9), run("text", "restore", RESTIC, 5)]))
        self.assertTrue(summary.verdict())


class ForPrint(unittest.TestCase):
    def test_a_whole_run_is(self):
        self.assertEqual(results.shortcomings(whole()), [])

    def test_scaled_down_data_is_not(self):
        small = whole()
        small["settings"]["scale"]["text"] = 0.5
        self.assertEqual(results.shortcomings(small), ["the data was scaled down"])

    def test_a_missing_row_or_round_is_named(self):
        lacking = whole()
        lacking["runs"] = [one for one in lacking["runs"] if (one["data"], one["work"]) != ("big", "first")]
        lacking["runs"].remove(next(one for one in lacking["runs"] if (one["data"], one["work"], one["tool"]) == ("vm", "prune", OURS)))
        self.assertEqual(results.shortcomings(lacking), [
            "orlop was not measured on big, first", "restic was not measured on big, first", "orlop ran 2 times on vm, forget + prune, and 3 is the least"])

    def test_nothing_is_published_of_them(self):
        with tempfile.TemporaryDirectory() as folder:
            results.save(result(), Path(folder, "local.json"))
            output = Path(folder, "page.md")
            with self.assertRaises(SystemExit):
                report.publish(Path(folder), output)
            self.assertFalse(output.exists())
            report.publish(Path(folder), output, draft=True)
            self.assertTrue(output.exists())

    def test_another_schema_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "local.json")
            results.save({**result(), "schema": results.SCHEMA + 1}, path)
            with self.assertRaisesRegex(ValueError, "measure again"):
                results.load(path)


class Page(unittest.TestCase):
    def line(self, page, start):
        return next(line for line in page.splitlines() if line.startswith(f"| {start} |"))

    def test_a_row_shows_median_spread_ratio_goal_and_verdict(self):
        runs = [run("text", "first", tool, wall, number) for tool, walls in ((OURS, (3, 1, 2)), (RESTIC, (8, 9, 7))) for number, wall in enumerate(walls)]
        page = report.render([result(runs=runs)])
        self.assertEqual(self.line(page, "text, first"), "| text, first | 2.00 (1.00-3.00) | 8.00 (7.00-9.00) | 4.00 | ≤ restic / 2 | yes |")
        for part in ("2026-01-02 03:04 UTC", "2 cores of a processor with 8 GiB", "Linux 6", "ext4", "data-mover 1, restic 2", "$ orlop first", "$ restic first"):
            self.assertIn(part, page)

    def test_a_row_that_falls_short_says_so(self):
        page = report.render([result(runs=[run("text", "first", OURS, 6), run("text", "first", RESTIC, 10)])])
        self.assertIn("| ≤ restic / 2 | **no** |", page)

    def test_too_much_memory_stands_out(self):
        page = report.render([result(runs=[run("text", "first", OURS, 6, peak_rss=200 * MIB), run("text", "first", RESTIC, 10, peak_rss=200 * MIB)])])
        self.assertIn("| **200** | 200 |", page)

    def test_a_larger_repository_stands_out_where_something_is_stored(self):
        sizes = ((OURS, 520 * MIB), (RESTIC, 500 * MIB))
        page = report.render([result(runs=[run("text", work, tool, 1, repository_bytes=size) for work in ("first", "restore") for tool, size in sizes])])
        self.assertEqual(page.count("| **520** | 500 |"), 1)
        self.assertEqual(page.count("| 520 | 500 |"), 1)

    def test_rustic_has_a_column_only_where_it_ran(self):
        page = report.render([result(runs=[run("text", "first", tool, 1) for tool in (OURS, RESTIC)])])
        self.assertNotIn("rustic, s", page)
        page = report.render([result(runs=[run("text", "first", tool, 1) for tool in (OURS, RESTIC, RUSTIC)])])
        self.assertIn("| Work | Orlop, s | restic, s | rustic, s |", page)

    def test_scaled_down_data_and_notes_are_not_kept_quiet(self):
        page = report.render([{**result(runs=[run("text", "first", OURS, 1)], scale=0.1), "notes": ["rustic was left out: it failed"]}])
        self.assertIn("**Scaled down**: text to 0.1.", page)
        self.assertIn("rustic was left out: it failed.", page)

    def test_what_the_distance_costs_is_told_beside_the_local_store(self):
        far = [run("text", "first", OURS, 10.8), run("text", "first", RESTIC, 30)]
        page = report.render([result(runs=[run("text", "first", OURS, 10), run("text", "first", RESTIC, 20)]), result("s3-latency", far)])
        self.assertIn("| text, first | - | - | 1.08 | 1.50 | ≤ 1.1 × local | yes |", page)

    def test_a_sessions_waits_are_shown_apart(self):
        page = report.render([result("cluster", [run("empty", "session", OURS, 4.5, waits=2.5), run("empty", "session", RESTIC, 0.7)])])
        self.assertIn("| empty, a session with nothing to do | 4.50 | 2.50 | 2.00 |", page)
        self.assertIn("≤ 2.5 s of our own | yes |", page)
        resting = {**result("cluster", [run("empty", "session", OURS, 4.5)]), "facts": {"memory_at_rest": 55 * MIB, "memory_of_standbys": 40 * MIB}}
        self.assertIn("at rest take 55 MiB; the goal is at most 60 MiB.\nTheir standbys take another 40 MiB.", report.render([resting]))

    def test_the_published_page_is_what_the_published_figures_give(self):
        published = report.load_all(report.RESULTS)
        for one in published:
            self.assertEqual(results.shortcomings(one), [], one["store"])
        if published or report.OUTPUT.exists():
            self.assertEqual(report.OUTPUT.read_text(), report.render(published), "run bench/report.py")


class Terminal(unittest.TestCase):
    def test_a_line_of_progress_names_every_program(self):
        row = next(row for row in ROWS if row.key == ("text", "first"))
        line = report.progress("local", 1, row, result(runs=[run("text", "first", RESTIC, 2), run("text", "first", OURS, 1)]))
        self.assertRegex(line, r"^local +1  text, first +Orlop +1\.00 s +0\.50 s CPU +90 MiB +restic +2\.00 s")

    def test_the_table_says_what_is_not_met(self):
        self.assertIn("NOT MET", report.terminal(whole(ours=9)))
        self.assertNotIn("NOT MET", report.terminal(whole()))

    def test_of_a_session_with_nothing_to_do_only_our_own_counts(self):
        told = [report.terminal(result("cluster", [run("empty", "session", OURS, 4.5, waits=waits)])) for waits in (2.5, 1.5)]
        self.assertIn("  met  (2.50 s of it scheduler and kubelet)", told[0])
        self.assertIn("  NOT MET  (1.50 s of it scheduler and kubelet)", told[1])


if __name__ == "__main__":
    unittest.main()
