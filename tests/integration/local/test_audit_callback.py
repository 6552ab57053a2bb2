# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback and the report, of real VMs and by real Ansible: what is gathered, what is noticed, what is shown."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read as read_log
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_store import lines_of, witness_of
from ansible_collections.maqet.qemu.tests.hosts import browser, modules, play
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Local, Result, given
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.strict import Node
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.strict import read as read_page

QMP = "maqet.qemu.maqet_qmp"


@dataclasses.dataclass(frozen=True)
class Fleet:
    """Runs with the callback enabled, and the file that they write."""

    local: Local
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "audit.jsonl"

    @property
    def env(self) -> dict[str, str]:
        return {"ANSIBLE_CALLBACKS_ENABLED": "maqet_results,maqet.qemu.audit", "MAQET_AUDIT_PATH": str(self.path)}

    def run(self, *tasks: Result, inventory: Path | None = None) -> play.PlayOutcome:
        plays = [{"name": "The play", "hosts": "all", "gather_facts": False, "tasks": list(tasks)}]
        return play.run_playbook(inventory or self.local.inventory, plays, env=self.env).must_succeed()

    def lines(self) -> list[Result]:
        return list(lines_of(str(self.path)))

    def report(self, *options: str, **extra: t.Any) -> tuple[play.PlayOutcome, Path]:
        page = self.folder / "report.html"
        playbook = (play.REPOSITORY / "playbooks" / "audit_report.yml").read_text("utf-8")
        wanted = {"audit_report_dest": str(page), "audit_report_become": False, **extra}
        return play.run_playbook(self.local.inventory, playbook, wanted, self.env, options), page


@pytest.fixture
def fleet(local: Local, tmp_path: Path) -> Fleet:
    return Fleet(local, tmp_path)


def asks(vm: str, command: str = "query-status", options: Result | None = None, **keywords: t.Any) -> Result:
    return {"name": f"ask {command}", QMP: {"vm": vm, "command": command, **(options or {})}, **keywords}


def places(lines: t.Iterable[Result]) -> list[tuple[str, int, str]]:
    return [(line["task"], line["record"]["seq"], line["record"]["phase"]) for line in lines]


def warnings(outcome: play.PlayOutcome) -> list[str]:
    """The warnings of the callback, each in one line, as Ansible wraps none that goes to a file."""
    joined = " ".join(outcome.output.split())
    return [text.split("[WARNING]")[0] for text in joined.split("[WARNING]: audit: ")[1:]]


def test_every_kind_of_task_leaves_its_records(fleet: Fleet, running: str) -> None:
    """A loop, an ignored failure, a retry, async, a handled failure in a block; what no_log hides is counted."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    outcome = fleet.run(
        asks(running, "{{ item }}", name="loop", loop=["query-status", "query-name"]),
        asks(running, "migrate", name="denied", options={"arguments": {"uri": "exec:true"}}, ignore_errors=True),
        asks(running, name="again", register="asked", until="asked.attempts > 1", retries=2, delay=0),
        {**asks(running, name="later"), "async": 30, "poll": 1},
        {
            "name": "in a block",
            "block": [asks(running, "migrate", name="rescued", options={"arguments": {"uri": "exec:true"}})],
            "rescue": [asks(running, name="to the rescue")],
        },
        asks(running, name="elsewhere", delegate_to="other", vars=here),
        asks(running, name="hidden", no_log=True),
    )
    lines = fleet.lines()
    tasks = [line["task"] for line in lines]
    counts = {"loop": 4, "denied": 1, "again": 4, "later": 2, "rescued": 1, "to the rescue": 2, "elsewhere": 2}
    assert {task: tasks.count(task) for task in tasks} == counts
    on_host = {record["seq"]: record for record in read_log(layout().vm(running).audit_log)}
    assert all(line["record"] == on_host[line["record"]["seq"]] for line in lines), "as they are on the host"
    assert {line["host"] for line in lines if line["task"] == "elsewhere"} == {"other"}
    assert {line["play"] for line in lines} == {"The play"} and {line["host"] for line in lines} == {
        "localhost",
        "other",
    }
    assert stat.S_IMODE(fleet.path.stat().st_mode) == 0o600
    assert f"localhost {running} : records=14 denied=2 problems=0" in " ".join(outcome.output.split())
    assert "1 result(s) hidden by no_log" in outcome.output and warnings(outcome) == []


@pytest.mark.long
def test_what_happens_to_a_log_between_two_runs(fleet: Fleet, name: str) -> None:
    """Unseen commands are a gap; a runner that takes over is not; a log that is cut off and goes on is a rewind."""
    given(name)
    assert warnings(fleet.run(asks(name))) == []
    modules.must("maqet_vm", name=name, state="restarted", force=True, stop_timeout=0)
    (gap,) = warnings(fleet.run(asks(name)))
    assert gap.startswith(f"localhost, VM {name}: gap: records ") and "maqet_audit_info" in gap
    assert warnings(fleet.run(asks(name))) == []
    modules.must("maqet_vm", name=name, state="stopped", force=True, stop_timeout=0)
    log = Path(layout().vm(name).audit_log)
    kept = log.read_bytes().splitlines(keepends=True)[:5]
    log.write_bytes(b"".join(kept))
    modules.must("maqet_vm", name=name, state="running")
    outcome = fleet.run(asks(name))
    (rewind,) = warnings(outcome)
    assert "rewind" in rewind and "cut off, replaced or restored" in rewind
    assert "problems=1" in outcome.output
    assert warnings(fleet.run(asks(name))) == [], "it is told once, and stays in the report"


def test_a_restart_by_a_task_leaves_no_gap(fleet: Fleet, name: str) -> None:
    given(name)
    again: Result = {"name": name, "state": "restarted", "force": True, "stop_timeout": 0}
    outcome = fleet.run(asks(name), {"name": "again", "maqet.qemu.maqet_vm": again}, asks(name))
    assert warnings(outcome) == []


@pytest.mark.long
def test_two_runs_at_once(fleet: Fleet, running: str, tmp_path: Path) -> None:
    """Both use one VM: all lines are whole, nothing is missing, and neither takes the other's records for a hole."""
    outcomes: list[play.PlayOutcome] = []
    runs = [
        threading.Thread(target=lambda: outcomes.append(fleet.run(asks(running, loop=[*range(6)]))))
        for _run in range(2)
    ]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert [warnings(outcome) for outcome in outcomes] == [[], []]
    lines = [json.loads(text) for text in fleet.path.read_bytes().splitlines()]
    assert len(lines) == 24 and len({line["run"] for line in lines}) == 2
    seqs = sorted(line["record"]["seq"] for line in lines)
    assert seqs == list(range(seqs[0], seqs[0] + 24))
    (chain,) = json.loads(Path(witness_of(str(fleet.path))).read_text("utf-8"))["chains"]
    assert chain["seq"] == seqs[-1] and [gap for gap in chain["gaps"] if not gap["quiet"]] == []


def test_ad_hoc(fleet: Fleet, running: str) -> None:
    """Enabled by a configuration file, with a path relative to that."""
    config = fleet.folder / "ansible.cfg"
    collections = play.REPOSITORY / ".dev" / "collections"
    defaults = f"bin_ansible_callbacks = true\ncallbacks_enabled = maqet.qemu.audit\ncollections_path = {collections}"
    config.write_text(f"[defaults]\n{defaults}\n[callback_maqet_audit]\npath = {fleet.path.name}\n", "utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MAQET_AUDIT"))}
    words = ["-i", str(fleet.local.inventory), "localhost", "-m", QMP, "-a", f"vm={running} command=query-status"]
    said = subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", *words],
        env={**kept, "ANSIBLE_CONFIG": str(config), "ANSIBLE_HOME": str(fleet.folder / "home"), "LC_ALL": "C.UTF-8"},
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert said.returncode == 0 and "records=2" in said.stdout and len(fleet.lines()) == 2, said


def commands(page: Node) -> list[list[str]]:
    return [[cell.text for cell in row.all("td")] for row in page.one(id="commands").all("tr")[1:]]


@pytest.mark.long
def test_the_report_has_what_was_done_without_ansible_too(fleet: Fleet, name: str) -> None:
    given(name)
    fleet.run(asks(name), asks(name, "migrate", options={"arguments": {"uri": "exec:true"}}, ignore_errors=True))
    modules.must("maqet_qmp", vm=name, command="stop", reason="by hand")
    checked, page = fleet.report("--check")
    assert checked.must_succeed() and not page.exists()
    outcome, page = fleet.report(audit_report_strict=True)
    told = outcome.must_succeed().result("In short")["msg"]
    assert told["page"] == str(page) and stat.S_IMODE(page.stat().st_mode) == 0o600
    own = [row for row in commands(read_page(page.read_text("utf-8"))) if row[2] == name]
    done = [(row[4], row[6]) for row in reversed(own)]
    assert done[-3:] == [("query-status", "done"), ("migrate", "denied"), ("stop", "done")]
    assert "in the host's log alone" in own[0][8] and "reason: by hand" in own[0][8] and "by a task" in own[1][8]
    mine = [one for one in told["summary"]["problems"] if one["vm"] == name]
    assert mine == []


@pytest.mark.long
def test_the_report_tells_of_a_log_that_was_tampered_with(fleet: Fleet, name: str) -> None:
    """The end is gone, and the host's own chain is whole: the controller alone knows."""
    given(name)
    fleet.run(asks(name), asks(name))
    log = Path(layout().vm(name).audit_log)
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert modules.must("maqet_audit_info", vm=name)["verified"] is True
    outcome, page = fleet.report(audit_report_strict=True)
    assert outcome.rc != 0 and "problem(s) of audit chains" in outcome.output and page.exists()
    (problem,) = (one for one in outcome.result("In short")["msg"]["summary"]["problems"] if one["vm"] == name)
    assert problem["kind"] == "host" and "its end is gone" in problem["text"]
    assert problem["text"] in page.read_text("utf-8")


def test_the_report_names_hosts_that_were_not_read(fleet: Fleet, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory.write_text(json.dumps({"all": {"hosts": {"gone": dead}}}), "utf-8")
    outcome, _page = Fleet(Local(inventory), tmp_path).report(audit_report_strict=True)
    (problem,) = outcome.result("In short")["msg"]["summary"]["problems"]
    assert (problem["kind"], problem["host"]) == ("host", "gone") and outcome.rc != 0


@pytest.fixture
def chromium() -> str:
    """A browser. Skips where there is none: not every distribution has one as a package."""
    found = browser.program()
    if found is None:
        pytest.skip(f"no Chromium is here (none of {', '.join(browser.PROGRAMS)})")
    return found


def test_the_page_in_a_browser(fleet: Fleet, running: str, chromium: str) -> None:
    """Nothing is fetched, nothing is complained of, the filter filters, and without scripts all is there."""
    denied = asks(running, "migrate", options={"arguments": {"uri": "exec:true"}}, ignore_errors=True)
    fleet.run(asks(running, name="<img src=x onerror=alert(1)>"), denied)
    outcome, page = fleet.report(audit_report_gather=False)
    outcome.must_succeed()
    listed = commands(read_page(page.read_text("utf-8")))
    assert [row[4] for row in listed] == ["migrate", "query-status"], "what the controller has seen, and nothing else"
    visible = "[...document.querySelectorAll('#commands tbody tr')].filter(row => row.offsetHeight > 0).length"
    choose = "(name, value) => { const form = document.getElementById('filter'); form.elements[name].value = value;"
    choose = f"({choose} form.dispatchEvent(new Event('input')); }})"
    with browser.page(chromium) as shown:
        shown.open(page.as_uri())
        assert shown.value(visible) == 2
        assert shown.value("document.querySelector('tbody code').offsetHeight > 0") is True
        shown.value(f"{choose}('outcome', 'denied')")
        assert shown.value(visible) == 1 and shown.value("document.querySelector('output').value") == "1 of 2"
        shown.value(f"{choose}('text', 'no such text')")
        assert shown.value(visible) == 0
        assert shown.value("getComputedStyle(document.querySelector('.tiles')).display") == "flex", "the style counts"
        assert shown.value("document.images.length") == 0
        assert shown.complaints == [] and shown.requests == [page.as_uri()]
        shown.picture(fleet.folder / "page.png")
        assert (fleet.folder / "page.png").read_bytes().startswith(b"\x89PNG")
    with browser.page(chromium, scripts=False) as shown:
        shown.open(page.as_uri())
        shown.ask("DOM.enable")
        root = shown.ask("DOM.getDocument")["root"]["nodeId"]
        for selector, count in (("#commands tbody tr:not([hidden])", 2), ("form[hidden]", 1)):
            assert len(shown.ask("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]) == count
        assert shown.complaints == [] and shown.requests == [page.as_uri()]
