# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench's own reckoning: what it makes of what it has measured."""

from __future__ import annotations

import base64
import io
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.docs.tools import bench_chart
from ansible_collections.maqet.qemu.tests.bench import bare, events, families, figures, imports, peers, proc, report
from ansible_collections.maqet.qemu.tests.bench.playbooks import Timed, items_of, seconds_of, task
from ansible_collections.maqet.qemu.tests.bench.start import above_tail


def test_a_figure_is_the_median_of_its_runs() -> None:
    made = figures.made("stop_lag_ms", [9.0, 1.0, 2.00004])
    assert (made.value, made.runs, made.low, made.high) == (2.0, 3, 1.0, 9.0)
    assert figures.valued("runner_idle_wakeups", [0, 0, 7], 7).value == 7


@pytest.mark.parametrize(("key", "values"), [("stop_lag_ms", []), ("no_such_key", [1.0])])
def test_no_figure_out_of_nothing(key: str, values: list[float]) -> None:
    with pytest.raises(ValueError, match=key):
        figures.made(key, values)


@pytest.mark.parametrize(
    ("key", "value", "met"),
    [
        ("stop_lag_ms", 50.0, True),
        ("stop_lag_ms", 50.1, False),
        ("start_vs_libvirt", 10.0, True),
        ("start_vs_libvirt", 9.9, False),
        ("one_task_vs_loop", 4.0, None),
    ],
)
def test_targets_are_judged_in_their_direction(key: str, value: float, met: bool | None) -> None:
    made = figures.made(key, [value])
    assert made.as_dict(judged=True)["met"] is met
    assert made.as_dict(judged=False)["met"] is None


def test_targets_in_words() -> None:
    assert figures.ASKED["stop_lag_ms"].target == "≤ 50 ms"
    assert figures.ASKED["start_vs_libvirt"].target == "≥ 10"
    assert figures.ASKED["process_ms"].target == ""


def test_turns_are_compared_with_their_own() -> None:
    assert figures.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    assert figures.above([2.0, 9.0], [1.0, 3.0]) == [1.0, 6.0]
    with pytest.raises(ValueError, match="zip"):
        figures.ratios([1.0], [1.0, 2.0])


def test_a_line_through_points() -> None:
    straight = figures.line([(25, 60), (50, 110), (200, 410)])
    assert straight.slope == pytest.approx(2) and straight.base == pytest.approx(10) and straight.bend == 1
    assert figures.line([(1, 1), (2, 2), (3, 5)]).bend == 3
    with pytest.raises(ValueError, match="two points"):
        figures.line([(1, 1)])


def test_loops_count_by_their_items() -> None:
    found = [Timed("loop", 0.0, 9.0, {}, [1.0, 2.0, 4.0, 5.0]), Timed("ping", 9.0, 9.5, {})]
    assert found[0].each == [1.0, 2.0, 1.0]
    assert items_of(found, "loop") == [1.0]
    assert (seconds_of(found, "loop"), seconds_of(found, "ping")) == ([9.0], [0.5])


def test_tasks_are_named_as_ansible_wants() -> None:
    assert task("a", "maqet_qmp", {"vm": "b"}, loop=[1]) == {
        "name": "a",
        "maqet.qemu.maqet_qmp": {"vm": "b"},
        "loop": [1],
    }
    assert task("a", "bench_stamp") == {"name": "a", "bench_stamp": {}}


def test_the_lag_of_a_stop_is_what_a_ping_has_not() -> None:
    found = [
        Timed("stamp", 0.0, 1.1, {"stamp": 1.0}),
        Timed("stop", 1.1, 2.5, {}),
        Timed("stamp", 2.5, 3.6, {"stamp": 3.5}),
        Timed("stop", 3.6, 4.6, {}),
    ]
    lags, tail = above_tail(found, [2.0, 4.0])
    assert tail == pytest.approx(0.1) and lags == pytest.approx([400, 500])


def test_a_bare_qemu_has_our_arguments_and_opens_what_it_needs() -> None:
    ours = [
        "/bin/qemu",
        "-name",
        "guest=web,debug-threads=on",
        "-sandbox",
        "on,elevateprivileges=deny,spawn=deny,obsolete=deny",
    ]
    ours += ["-chardev", "socket,id=maqet-monitor,fd=8,server=on,wait=off", "-add-fd", "fd=10,set=1,opaque=serial"]
    ours += ["-chardev", "file,id=s,path=/dev/fdset/1,append=on", "-S"]
    assert bare.argv(ours, Path("/f"), "n1") == [
        *("/bin/qemu", "-name", "guest=n1,debug-threads=on", "-sandbox", "on,obsolete=deny"),
        *("-chardev", "socket,id=maqet-monitor,path=/f/n1-maqet-monitor.sock,server=on,wait=off"),
        *("-chardev", "file,id=s,path=/f/n1.serial,append=on", "-S", "-pidfile", "/f/n1.pid", "-daemonize"),
    ]


def test_the_archive_in_a_module_file_is_found() -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("a.py", "x = 1\n" * 500)
    script = b'DECOY = "%s"\nZIPDATA = """%s"""\n' % (b"A" * 2000, base64.b64encode(stored.getvalue()))
    assert imports.zipped(script) == stored.getvalue()
    with pytest.raises(ValueError, match="no archive"):
        imports.zipped(b"print(1)")


def test_what_the_kernel_says_is_read() -> None:
    assert proc.pss_of("Rss:   9 kB\nPss:    1000 kB\nPss_Anon:  1 kB\n") == 1.024
    assert proc.switches_of("Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n") == 12
    with pytest.raises(ValueError, match="Pss"):
        proc.pss_of("")
    with pytest.raises(ValueError, match="voluntary"):
        proc.switches_of("nonvoluntary_ctxt_switches:\t3\n")


def test_an_event_has_its_time() -> None:
    assert events.stamp({"timestamp": {"seconds": 3, "microseconds": 250000}}) == 3.25


def test_every_key_is_asked_for_once() -> None:
    keys = families.keys(peers=True)
    assert sorted(keys) == sorted(figures.ASKED) and len(keys) == len(set(keys))
    assert set(families.keys(peers=False)) < set(keys)


def test_families_are_chosen_by_their_keys() -> None:
    everything = families.chosen(families.Wanted())
    assert families.chosen(families.Wanted(peers=True)) == [*everything, *families.PEERS]
    (family,) = families.chosen(families.Wanted(keys=["stop_lag_ms"]))
    assert "start_one_task_vs_ping" in family.KEYS


def test_domains_of_the_peer_are_like_ours() -> None:
    assert "<name>{{ item }}</name><memory unit='MiB'>32</memory>" in peers.domain("{{ item }}", "32")


def a_report(form: str = "full", failed: t.Mapping[str, str] | None = None) -> dict[str, t.Any]:
    words = ("system", "kernel", "cpus", "cpu", "memory_mib", "python", "ansible_core", "qemu")
    head = {"form": form, "commit": "0" * 40, "modified": False, "time": "2026-01-01T00:00:00", "nice": 0, "peers": {}}
    head |= {"machine": dict.fromkeys(words, "x"), "load_before": [0.1, 0.2, 0.3]}
    made = [
        figures.made("stop_lag_ms", [40.0, 60.0, 70.0]),
        figures.made("guard_us", [20.0]),
        figures.made("scale_start_ms", [50.0, 60.0], points={"25": 1000.0, "200": 9000.0}, at_none=7.0),
    ]
    return report.whole(head, made, failed or {}, {"seconds": 60.0})


def test_the_report_says_what_is_met_and_what_is_not() -> None:
    found = a_report(failed={"import_ms": "no payload"})
    assert list(found["figures"]) == ["stop_lag_ms", "guard_us", "scale_start_ms"]
    assert [entry["met"] for entry in found["figures"].values()] == [False, True, None]
    lines = report.table(found).splitlines()
    assert "MISSED" in lines[1] and "40 to 70" in lines[1] and "met" in lines[2] and "no payload" in lines[-1]
    assert report.closing(found) == "bench: 3 of 4 figures made, 1 of 2 targets met"


def test_the_short_form_judges_nothing() -> None:
    found = a_report("short")
    assert report.closing(found) == "bench: 3 of 3 figures made"
    assert "MISSED" not in report.table(found)


def test_the_page_has_a_row_a_figure_and_a_chart_a_line() -> None:
    text = "\n".join(bench_chart.of(a_report(failed={"import_ms": "no payload"})))
    assert "≤ 50 ms: **missed**" in text and "≤ 50 µs: met" in text and "3: 40 to 70" in text and "no payload" in text
    assert "no full run" in "\n".join(bench_chart.of(a_report("only guard_us")))
    chart = bench_chart.charts_of(a_report())
    assert [line.count("#") for line in chart if "VMs" in line] == [6, 50]
    assert any(line.endswith("9 s") for line in chart)
    assert "and 7 without any" in chart[0]


def test_bars_of_nothing_have_no_length() -> None:
    assert [line.count("#") for line in bench_chart.bars({1: 0.0, 2: 0.0}, "s")] == [0, 0]
    assert [line.count("#") for line in bench_chart.bars({1: -1.0, 2: 2.0}, "s")] == [0, 50]
