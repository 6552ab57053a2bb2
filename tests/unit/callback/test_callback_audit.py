# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback, given results as ansible-core 2.18 has them (names with an underscore) and as later ones do."""

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.callback.audit import CallbackModule
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_store import lines_of
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.fleet import HostLog, edited

HOOKS = (
    *("v2_runner_on_ok", "v2_runner_on_failed", "v2_runner_on_unreachable", "v2_runner_item_on_ok"),
    *("v2_runner_item_on_failed", "v2_runner_retry"),
)
HIDDEN = {"censored": "the output has been hidden due to the fact that 'no_log: true' was specified for this result"}


def outcome(result: t.Any, old: bool = False, action: str = "maqet.qemu.maqet_qmp", **fields: t.Any) -> t.Any:
    parts = {
        "host": types.SimpleNamespace(get_name=lambda: "h1"),
        "task": types.SimpleNamespace(get_name=lambda: "{{ untemplated }}", action=action),
        "task_fields": {"name": "a task", **fields},
        "result": result,
    }
    return types.SimpleNamespace(**{f"_{name}" if old else name: part for name, part in parts.items()})


class Told(t.NamedTuple):
    plugin: CallbackModule
    warnings: list[str]
    shown: list[str]
    path: str


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """The callback with a file of its own, and what it shows."""
    plugin = CallbackModule()
    path = str(tmp_path / "audit.jsonl")
    warnings: list[str] = []
    shown: list[str] = []
    monkeypatch.setattr(plugin, "get_option", {"path": path}.__getitem__)
    monkeypatch.setattr(CallbackModule.__mro__[1], "set_options", lambda self, **_options: None)
    plugin.set_options()
    shows = {"warning": warnings.append, "banner": shown.append, "display": shown.append}
    plugin._display = types.SimpleNamespace(**shows)
    plugin.v2_playbook_on_play_start(types.SimpleNamespace(get_name=lambda: "a play"))
    return Told(plugin, warnings, shown, path)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("hook", HOOKS)
def test_every_kind_of_result_is_taken(told: Told, hook: str, old: bool) -> None:
    getattr(told.plugin, hook)(outcome({"audit": HostLog().command()}, old))
    assert [(line["host"], line["play"], line["task"]) for line in lines_of(told.path)] == [
        ("h1", "a play", "a task")
    ] * 2


def test_a_delegated_task_is_of_the_host_that_did_it(told: Told) -> None:
    told.plugin.v2_runner_on_ok(outcome({"audit": HostLog().command()}, delegate_to="h2"))
    assert {line["host"] for line in lines_of(told.path)} == {"h2"}


def test_problems_are_warned_of_and_summed_up(told: Told) -> None:
    log = HostLog()
    told.plugin.v2_runner_on_ok(outcome({"audit": log.command()}))
    log.command()
    told.plugin.v2_runner_on_failed(outcome({"audit": [edited(log.denial()[0], reason="none")]}), ignore_errors=True)
    told.plugin.v2_runner_on_ok(outcome(HIDDEN))
    told.plugin.v2_runner_on_ok(outcome(HIDDEN, action="ansible.builtin.copy"))
    told.plugin.v2_playbook_on_stats(None)
    changed, gap = told.warnings
    assert changed.startswith("audit: h1, VM web1: changed: record 5") and "gap: records 3 to 4" in gap
    assert told.shown[0] == "AUDIT" and told.shown[1].split()[-3:] == ["records=3", "denied=1", "problems=2"]
    assert told.shown[2].startswith("h1: 1 result(s) hidden by no_log")


def test_a_run_that_is_not_of_ours_is_silent(told: Told) -> None:
    told.plugin.v2_runner_on_ok(outcome({"audit": "of something else"}, action="ansible.builtin.ping"))
    told.plugin.v2_playbook_on_stats(None)
    assert told.shown == told.warnings == [] and not Path(told.path).exists()


def test_a_file_that_cannot_be_written_is_told(told: Told) -> None:
    Path(told.path).mkdir()
    told.plugin.v2_runner_on_ok(outcome({"audit": HostLog().command()}))
    told.plugin.v2_playbook_on_stats(None)
    assert told.path in told.warnings[0] and "MAQET_AUDIT_PATH" in told.warnings[0]
    assert "2 record(s) could not be written" in told.shown[1]


def test_a_witness_that_is_broken_is_told(told: Told) -> None:
    Path(told.path).with_suffix(".witness.json").write_text("{", "utf-8")
    told.plugin.v2_runner_on_ok(outcome({"audit": HostLog().command()}))
    assert len(told.warnings) == 1 and "witness" in told.warnings[0]
