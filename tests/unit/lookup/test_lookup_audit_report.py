# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup, as Ansible loads and calls it."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.loader import init_plugin_loader, lookup_loader
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.fleet import HostLog, line
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.strict import read


@pytest.fixture(scope="module")
def look() -> t.Callable[..., t.Any]:
    """``lookup('maqet.qemu.audit_report', ...)``."""
    collections = Path(__file__).resolve().parents[3] / ".dev" / "collections"
    init_plugin_loader([str(collections)])

    def call(*terms: str, **options: t.Any) -> t.Any:
        (found,) = lookup_loader.get("maqet.qemu.audit_report").run(list(terms), {}, **options)
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


def test_the_file_of_the_callback(look: t.Callable[..., t.Any], path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQET_AUDIT_PATH", path)
    assert look(format="summary")["commands"] == 2


def test_what_it_refuses(look: t.Callable[..., t.Any], path: str, tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match="cannot be read"):
        look(str(tmp_path), format="summary")
    with pytest.raises(AnsibleError, match="gathered"):
        look(path, gathered=[{"host": "h1"}])
    with pytest.raises(AnsibleError, match="format"):
        look(path, format="pdf")
