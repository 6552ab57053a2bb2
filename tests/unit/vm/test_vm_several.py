# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Details of many VMs: guests are asked side by side, and what each has is put together."""

from __future__ import annotations

import os
import threading
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid
from ansible_collections.maqet.qemu.plugins.module_utils.vm import details as room
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual
from ansible_collections.maqet.qemu.plugins.module_utils.vm.several import Several

UUID = "0b0e6a0e-6c1c-4d0f-8d3a-111111111111"
TOLD = [{"interface": "eth0", "mac": None, "family": "ipv4", "address": "192.0.2.9", "prefix": 24}]


def running(name: str, **intent: t.Any) -> Actual:
    return Actual(Definition(name, UUID, {"agent": True, **intent}), of_pid(os.getpid()), None, "running")


@pytest.fixture
def where(tmp_path: t.Any) -> Layout:
    return Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user")


def several(where: Layout, *subjects: str) -> Several:
    return Several(where, subjects, 5.0, {})


def test_guests_are_asked_at_the_same_time(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them answers before all have been asked."""
    together = threading.Barrier(20, timeout=30)

    def guest(details: room.Details) -> dict[str, t.Any]:
        together.wait()
        details._control.audit.append({"op": details._paths.name})
        return {"addresses": TOLD}

    monkeypatch.setattr(room.Details, "_guest", guest)
    vms = several(where, "addresses", "events")
    names = [f"vm{number}" for number in range(20)]
    found = [vms.add(where.vm(name), running(name)) for name in names]
    vms.ask()
    expected = {"events": [], "addresses": [{**TOLD[0], "source": "agent"}]}
    assert found == [{"details": expected}] * 20
    assert [record["op"] for record in vms.audit] == names


def test_errors_of_both_kinds_stand_together(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def guest(_details: room.Details) -> t.NoReturn:
        raise MaqetError("nobody there", "guest_unreachable")

    def events(_details: room.Details) -> t.NoReturn:
        raise OSError("no file")

    monkeypatch.setattr(room.Details, "_guest", guest)
    monkeypatch.setattr(room.Details, "_events", events)
    vms = several(where, "addresses", "events")
    found = vms.add(where.vm("web"), running("web"))
    vms.ask()
    assert found["details"]["errors"] == {"addresses": "nobody there", "events": "no file"}
    assert found["details"]["addresses"] is None


def test_the_hosts_word_counts_where_the_agent_has_none(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    here = [{**TOLD[0], "source": "lease"}]

    def guest(_details: room.Details) -> t.NoReturn:
        raise MaqetError("nobody there", "guest_unreachable")

    class Bridge:
        def __init__(self, _watched: t.Any, cards: t.Mapping[str, str], *_more: t.Any, **_others: t.Any) -> None:
            assert list(cards.values()) == ["br0"]

        def known(self) -> list[dict[str, t.Any]]:
            return here

        def close(self) -> None:
            pass

    monkeypatch.setattr(room.Details, "_guest", guest)
    monkeypatch.setattr(room, "Bridged", Bridge)
    vms = several(where, "addresses")
    found = vms.add(where.vm("web"), running("web", networks=[{"type": "bridge", "bridge": "br0"}]))
    vms.ask()
    assert found["details"] == {"addresses": here}


def test_nobody_asks_a_guest_that_cannot_answer(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.Details, "_guest", lambda _details: pytest.fail("it was asked"))
    vms = several(where, "addresses")
    paused = Actual(Definition("web", UUID, {"agent": True}), of_pid(os.getpid()), None, "paused")
    stopped = Actual(Definition("off", UUID, {"agent": True}))
    found = [vms.add(where.vm("web"), paused), vms.add(where.vm("off"), stopped)]
    vms.ask()
    assert found == [{"details": {"addresses": []}}, {"details": {"addresses": None}}]


def test_who_wants_nothing_gets_nothing(where: Layout) -> None:
    vms = several(where)
    assert vms.add(where.vm("web"), running("web")) == {}
    vms.ask()
    assert vms.audit == []
