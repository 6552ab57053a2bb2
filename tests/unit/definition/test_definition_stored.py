# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What definition.json holds, there and back."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

UUID = "11111111-2222-3333-4444-555555555555"
WHOLE = Definition(
    name="web",
    uuid=UUID,
    intent={"memory": 512, "disks": [{"name": "disk0", "base": "/b"}, {"name": "disk1", "path": "/d"}]},
    files={
        "disk0": DiskFile("/v/disk0.qcow2", "qcow2", owned=True, backing="/b", backing_driver="raw"),
        "disk1": DiskFile("/d", "raw"),
    },
)


@pytest.mark.parametrize("definition", [WHOLE, Definition("a", UUID)])
def test_there_and_back(definition: Definition) -> None:
    assert Definition.from_json(json.loads(json.dumps(definition.to_json()))) == definition


def test_the_stored_form_is_pinned() -> None:
    assert WHOLE.to_json() == {
        "format": 1,
        "name": "web",
        "uuid": UUID,
        "intent": WHOLE.intent,
        "files": {
            "disk0": {
                "path": "/v/disk0.qcow2",
                "driver": "qcow2",
                "owned": True,
                "backing": "/b",
                "backing_driver": "raw",
            },
            "disk1": {"path": "/d", "driver": "raw", "owned": False, "backing": None, "backing_driver": None},
        },
    }


def changed(**changes: t.Any) -> dict[str, t.Any]:
    return {**WHOLE.to_json(), **changes}


def without(key: str) -> dict[str, t.Any]:
    data = WHOLE.to_json()
    del data[key]
    return data


@pytest.mark.parametrize(
    "data", [changed(format=2), changed(format="1"), changed(format=True), without("format"), [], None]
)
def test_unknown_formats(data: t.Any) -> None:
    with pytest.raises(
        MaqetError, match=r"format .* reads 1\. Use the version of the collection that wrote it"
    ) as caught:
        Definition.from_json(data)
    assert caught.value.error_code == "state_unsafe"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (without("uuid"), "uuid"),
        (changed(name=5), "name"),
        (changed(intent=[]), "intent"),
        (changed(wheels=4), "wheels"),
        (changed(files=None), "files"),
        (changed(files={"disk0": "/v"}), "disk0"),
        (changed(files={"disk0": {"path": "/v"}}), "driver"),
        (changed(files={"disk0": {**WHOLE.to_json()["files"]["disk1"], "owned": "yes"}}), "owned"),
    ],
)
def test_damaged(data: t.Any, word: str) -> None:
    with pytest.raises(MaqetError, match=f"is damaged: .*{word}.*backup") as caught:
        Definition.from_json(data)
    assert caught.value.error_code == "state_unsafe"
