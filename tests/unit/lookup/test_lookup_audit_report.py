# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup: which files it reads, and in which forms it answers."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.maqet.qemu.plugins.callback.audit import DOCUMENTATION as CALLBACK
from ansible_collections.maqet.qemu.plugins.lookup.audit_report import DOCUMENTATION, LookupModule
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.fleet import HostLog, line
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.strict import read


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Any]:
    """The plugin with the options that it documents, which Ansible would read for it."""
    options = yaml.safe_load(DOCUMENTATION)["options"]
    defaults = {name: option.get("default") for name, option in options.items()}

    def call(*terms: str, **given: t.Any) -> t.Any:
        assert given.keys() <= options.keys()
        plugin = LookupModule()
        monkeypatch.setattr(plugin, "set_options", lambda **_given: None)
        monkeypatch.setattr(plugin, "get_option", {**defaults, **given}.__getitem__)
        (found,) = plugin.run(list(terms), {}, **given)
        return found

    return call


@pytest.fixture
def path(tmp_path: Path) -> str:
    log = HostLog()
    records = [*log.command(), *log.denial()]
    file = tmp_path / "audit.jsonl"
    file.write_text("".join(json.dumps(line(record)) + "\n" for record in records) + "half a li", "utf-8")
    return str(file)


def test_its_forms(look: t.Callable[..., t.Any], path: str) -> None:
    assert look(path, format="summary")["denied"] == 1
    assert [(one["vm"], one["seq"]) for one in look(path, format="witness")] == [("web1", 3)]
    shown = read(look(path, title="Of us", limit=1))
    assert shown.all("h1")[0].text == "Of us" and len(shown.one(id="commands").all("tr")) == 2


def test_several_files_are_one_report(look: t.Callable[..., t.Any], path: str, tmp_path: Path) -> None:
    assert look(f"{path}.1", path, format="summary")["records"] == 3, "one that is not there has no records"


def test_the_file_of_the_callback(look: t.Callable[..., t.Any], path: str) -> None:
    assert look(path=path, format="summary")["commands"] == 2


def test_what_it_refuses(look: t.Callable[..., t.Any], path: str, tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match="cannot be read"):
        look(str(tmp_path), format="summary")
    with pytest.raises(AnsibleError, match="gathered"):
        look(path, gathered=[{"host": "h1"}])


def test_it_reads_what_the_callback_writes() -> None:
    """Default, environment and configuration are the same."""
    theirs, ours = (yaml.safe_load(text)["options"]["path"] for text in (CALLBACK, DOCUMENTATION))
    assert [theirs[key] for key in ("default", "env", "ini", "type")] == [
        ours[key] for key in ("default", "env", "ini", "type")
    ]
