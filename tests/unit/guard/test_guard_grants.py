# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition names of the host is open for the request that brings it, and for nothing else."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate, Outcome
from ansible_collections.maqet.qemu.plugins.module_utils.guard.paths import Place
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import tighten
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Grants
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.runner.batch import asker_of


def added(path: pathlib.Path, readonly: bool = False) -> Request:
    file = {"driver": "file", "filename": str(path)}
    return Request("blockdev-add", {"driver": "raw", "node-name": "d", "read-only": readonly, "file": file})


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "foreign.raw"
    path.write_bytes(b"x" * 512)
    return path


def granting(asker: Asker, *places: Place, listen: tuple[str, ...] = ()) -> Asker:
    return dataclasses.replace(asker, granted=Grants(places, listen))


def test_a_file_is_open_as_it_was_granted(gate: Gate, asker: Asker, image: pathlib.Path) -> None:
    write, read = granting(asker, Place(str(image), "write")), granting(asker, Place(str(image), "read"))
    other = image.with_name("other.raw")
    other.write_bytes(image.read_bytes())
    for who, request, allowed in (
        (asker, added(image), False),
        (write, added(image), True),
        (write, added(image, readonly=True), True),
        (read, added(image), False),
        (read, added(image, readonly=True), True),
        (write, added(other), False),
    ):
        assert gate.judge_all([request], who)[0].allowed == allowed, (who.granted, request)
    ticket = gate.ask(added(image), write)
    assert [entry["path"] for entry in ticket.intent["files"]] == [str(image)]
    gate.close(ticket, Outcome("success"))


def test_a_denial_by_name_counts_more(gate: Gate, asker: Asker, image: pathlib.Path) -> None:
    who = granting(asker, Place(str(image), "write"))
    tight = dataclasses.replace(who, tighter=(tighten("vm", {"commands": {"blockdev-add": "deny"}}),))
    assert gate.judge_all([added(image)], who)[0].allowed
    assert not gate.judge_all([added(image)], tight)[0].allowed


def test_an_address_to_listen_on(gate: Gate, asker: Asker) -> None:
    forward = Request("netdev_add", {"type": "user", "id": "n", "hostfwd": [{"str": "tcp:127.0.0.1:2222-:22"}]})
    for listen, allowed in (((), False), (("127.0.0.1:2222",), True), (("127.0.0.1:2223",), False)):
        assert gate.judge_all([forward], granting(asker, listen=listen))[0].allowed == allowed


def test_an_interface(gate: Gate, asker: Asker) -> None:
    tap = Request("netdev_add", {"type": "tap", "id": "n", "ifname": "maqet0"})
    for devices, allowed in (((), False), (("maqet0",), True), (("maqet1",), False)):
        who = dataclasses.replace(asker, granted=Grants(devices=devices))
        assert gate.judge_all([tap], who)[0].allowed == allowed


def test_only_the_runners_own_user_is_believed(asker: Asker, image: pathlib.Path) -> None:
    message: dict[str, t.Any] = {
        "grants": {"files": [[str(image), True]], "listen": ["127.0.0.1:1"], "devices": ["tap0"]}
    }
    ours = dataclasses.replace(asker.caller, uid=os.geteuid())
    assert asker_of(message, ours).granted == Grants((Place(str(image), "write"),), ("127.0.0.1:1",), ("tap0",))
    with pytest.raises(MaqetError) as caught:
        asker_of(message, dataclasses.replace(ours, uid=os.geteuid() + 1))
    assert caught.value.error_code == "policy_denied"
    assert asker_of({}, dataclasses.replace(ours, uid=os.geteuid() + 1)).granted == Grants()


@pytest.mark.parametrize(
    "grants",
    [
        5,
        [],
        {},
        {"files": 5, "listen": [], "devices": []},
        {"files": [["a"]], "listen": [], "devices": []},
        {"files": [[5, True]], "listen": [], "devices": []},
        {"files": [], "listen": [5], "devices": []},
    ],
)
def test_grants_that_are_none(asker: Asker, grants: t.Any) -> None:
    with pytest.raises(MaqetError) as caught:
        asker_of({"grants": grants}, dataclasses.replace(asker.caller, uid=os.geteuid()))
    assert caught.value.error_code == "invalid_request"
