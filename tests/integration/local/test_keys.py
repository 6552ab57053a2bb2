# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""maqet_keys on a real guest, which says on its serial console what it has read from its keyboard."""

from __future__ import annotations

import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.keyboard_layouts import translate
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, NOTHING, Local, Result, given, remove

READY = "maqet guest ready.*\n"
PRINTABLE = "".join(map(chr, range(32, 127)))
SECRET = "Tr0ub4dor-and-3"


@pytest.fixture(scope="module")
def vm(guest: Result) -> t.Iterator[str]:
    """A VM whose guest reads its keyboard, shared by the tests of this file, which leave it running."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    cmdline = guest["cmdline"] + " maqet.keyboard"
    keyboard = {"display": "headless"} if ARCH == "aarch64" else {}  # a PC always has one
    given(chosen, **{**guest, "cmdline": cmdline}, **keyboard, wait_for=[{"serial": READY}], timeout=120)
    yield chosen
    remove(chosen)


def serial(name: str) -> str:
    """All that the guest has said so far."""
    return Path(layout().vm(name).serial_log).read_text("utf-8", "replace").replace("\r", "")


def typed(name: str, before: str, end: str) -> list[str]:
    """The lines that the guest has read since ``before``, up to the one that is ``end``."""
    pattern = f"maqet typed: {end}\r?\n"
    modules.must("maqet_vm", name=name, state="running", wait_for=[{"serial": pattern}], timeout=60)
    said = serial(name)[len(before) :]
    return [line[len("maqet typed: ") :] for line in said.splitlines() if line.startswith("maqet typed: ")]


def keys(local: Local, name: str, *tasks: Result, options: t.Sequence[str] = ()) -> list[Result]:
    """Several maqet_keys tasks in one play; the key ``check_mode`` is the task's."""
    listed = []
    for task in tasks:
        check = {"check_mode": True} if task.get("check_mode") else {}
        listed.append({"maqet_keys": {"vm": name, **{k: v for k, v in task.items() if k != "check_mode"}}, **check})
    return local.play(*listed, options=options) if options else local.run(*listed)


def test_keys_and_text(local: Local, vm: str) -> None:
    """Check mode types nothing; what is typed arrives, and again when it is typed again."""
    before = serial(vm)
    task: Result = {"text": "echo 'a' \\ |B|\n", "reason": "ticket 4711"}
    checked, done, again, combined = keys(
        local, vm, {**task, "check_mode": True}, task, task, {"keys": ["shift-e", "n", "d", "minus", "1", "ret"]}
    )
    for result in (checked, done, again, combined):
        assert not result["failed"] and result["changed"] is True, result
    assert checked["audit"] == [] and checked["decision"]["class"] == "guest"
    assert (checked["typed"], done["typed"], combined["typed"]) == (15, 15, 6)
    assert typed(vm, before, "End-1") == ["echo 'a' \\ |B|", "echo 'a' \\ |B|", "End-1"]
    assert [record["op"] for record in done["audit"]] == ["input-send-event"] * 2 + ["send-key"] * 30
    assert {record["reason"] for record in done["audit"]} == {"ticket 4711"}


@pytest.mark.long
def test_a_long_text_arrives_whole(local: Local, vm: str) -> None:
    """Far more than QEMU's queue of keys takes, and far more than its keyboard keeps: every character counts."""
    before = serial(vm)
    lines = [f"{number} {PRINTABLE[number:]}{PRINTABLE[:number]}" for number in range(8)]
    (result,) = keys(local, vm, {"text": "".join(f"{line}\n" for line in lines) + "done-2\n"})
    assert not result["failed"], result["msg"]
    assert typed(vm, before, "done-2") == [*lines, "done-2"]


def test_a_layout_presses_other_keys(local: Local, vm: str) -> None:
    """The guest has an American keyboard, so it shows which keys a German text presses."""
    before = serial(vm)
    results = keys(local, vm, {"text": "yz-/ 7&\n", "layout": "de"}, {"text": "done-3\n"})
    assert not any(result["failed"] for result in results)
    back = {tuple(translate("text", character, "us")): character for character in PRINTABLE}
    wanted = "".join(back[(chord,)] for chord in translate("text", "yz-/ 7&", "de"))
    assert wanted == "zy/& 7^"
    assert typed(vm, before, "done-3") == [wanted, "done-3"]


def test_what_cannot_be_typed_is_refused_before_the_first_key(local: Local, vm: str) -> None:
    """And named, but for the text."""
    before = serial(vm)
    umlaut, control, misspelt, both, none, end = keys(
        local,
        vm,
        {"text": f"{SECRET}\u00e4"},
        {"text": f"{SECRET}\u0007"},
        {"keys": ["x", "ctrl-enter"]},
        {"keys": ["x"], "text": "both of them"},
        {},
        {"text": "done-4\n"},
        options=["-vvv"],
    )
    for result in (umlaut, control, misspelt):
        assert result["error_code"] == "invalid_option" and result["changed"] is False
    assert f"text: character {len(SECRET) + 1} of {len(SECRET) + 1} is not ASCII" in umlaut["msg"]
    assert "control character" in control["msg"]
    assert "keys[1]: 'ctrl-enter'" in misspelt["msg"] and "did you mean ret?" in misspelt["msg"]
    assert "mutually exclusive" in both["msg"] and "one of the following is required" in none["msg"]
    assert SECRET not in end["output"]
    assert typed(vm, before, "done-4") == ["done-4"]


def test_a_password_stays_out_of_results_and_logs(local: Local, vm: str) -> None:
    """-vvv, the audit and the runner's log do not have it, nor its keys."""
    before = serial(vm)
    (result, nul) = keys(
        local,
        vm,
        {"text": f"{SECRET}\ndone-5\n", "reason": f"it was {SECRET}"},
        {"text": f"{SECRET}\0"},
        options=["-vvv"],
    )
    assert typed(vm, before, "done-5") == [SECRET, "done-5"]
    assert nul["error_code"] == "invalid_option" and SECRET not in nul["msg"]
    log = Path(layout().vm(vm).audit_log).read_text("utf-8")
    runner = Path(layout().vm(vm).runner_log).read_text("utf-8")
    for text in (result["output"], log, runner):
        assert SECRET not in text and '"qcode"' not in text
    assert result["invocation"]["module_args"]["text"] == {"redacted": True, "len": len(SECRET) + 8}
    assert result["audit"][2]["args"]["keys"] == {"redacted": True, "len": 2}, "shift and t"


def test_a_machine_that_does_not_run_is_not_typed_to(local: Local, vm: str) -> None:
    """QEMU would drop the keys without a word."""
    before = serial(vm)
    _stop, refused, checked, _cont, end = local.run(
        {"maqet_vm": {"name": vm, "state": "paused"}},
        {"maqet_keys": {"vm": vm, "text": "lost\n"}},
        {"maqet_keys": {"vm": vm, "text": "lost\n"}, "check_mode": True},
        {"maqet_vm": {"name": vm, "state": "running"}},
        {"maqet_keys": {"vm": vm, "text": "done-6\n"}},
    )
    assert refused["error_code"] == checked["error_code"] == "vm_paused" and not end["failed"]
    assert "state=running" in refused["msg"] and refused["changed"] is False
    assert typed(vm, before, "done-6") == ["done-6"]


def test_a_combination_that_the_kernel_obeys(local: Local, vm: str) -> None:
    """Ctrl-Alt-Delete restarts the guest. The last test of the VM: its serial log goes on in the same file."""
    boots = serial(vm).count("maqet guest ready")
    (result,) = keys(local, vm, {"keys": ["ctrl-alt-delete"]})
    assert not result["failed"], result["msg"]
    pattern = "(?s)" + "maqet guest ready.*" * (boots + 1)
    modules.must("maqet_vm", name=vm, state="running", wait_for=[{"serial": pattern}], timeout=120)


def test_who_has_no_keyboard_and_who_is_not_there(local: Local, name: str) -> None:
    """An Arm board without a display has none, which nobody would notice."""
    given(name, **{**NOTHING, "arch": "aarch64", "machine": "virt", "display": "none"})
    deaf, missing = local.run(
        {"maqet_keys": {"vm": name, "keys": ["ret"]}}, {"maqet_keys": {"vm": "nosuchvm", "keys": ["ret"]}}
    )
    assert deaf["error_code"] == "no_keyboard" and "display: headless" in deaf["msg"] and deaf["changed"] is False
    assert missing["error_code"] == "vm_not_found"
