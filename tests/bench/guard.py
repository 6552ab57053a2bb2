# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guard and audit cost one command: the runner's own parts in one process, with the schema of a real QEMU."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import myself
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate, Outcome
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.bench import figures
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.raw import Raw
from ansible_collections.maqet.qemu.tests.bench.room import Room

KEYS: t.Final = ("guard_us", "guard_transaction_us", "gate_us")
#: What tasks send most: questions, the power of a guest, a change of a device.
TYPICAL: t.Final = (
    Request("query-status", {}),
    Request("query-block", {}),
    Request("stop", {}),
    Request("cont", {}),
    Request("balloon", {"value": 2**28}),
    Request("device_add", {"driver": "virtio-net-pci", "id": "nic1", "netdev": "net1", "mac": "52:54:00:12:34:56"}),
    Request("device_del", {"id": "nic1"}),
    Request("set_link", {"name": "nic1", "up": False}),
)
_BITMAPS: t.Final = [
    {"type": "block-dirty-bitmap-add", "data": {"node": "b", "name": f"bitmap{number}"}} for number in range(20)
]
TRANSACTION: t.Final = Request("transaction", {"actions": _BITMAPS})


def measure(room: Room) -> list[Figure]:
    """``guard_us``: the verdict alone; each value is the median of one of :data:`TYPICAL`.

    ``gate_us``: what the runner does around one query: verdict, intent on disk (fdatasync), result. The log lies where
    the logs are.
    """
    (name,) = room.names(1)
    with room.vms([name]):
        with contextlib.closing(Raw(room.paths(name).direct_socket)) as raw:
            raw.send(b'{"execute": "query-qmp-schema"}\n')
            schema = Schema.of(raw.answer()["return"])
        with tempfile.TemporaryDirectory(dir=layout().log) as logs:
            scope = Scope(name, room.paths(name).home, schema)
            gate = Gate(VmIdentity(name), scope, AuditLog(str(Path(logs, "bench.audit.jsonl"))), "ipc")
            return _figures(gate, scope, room)


def _figures(gate: Gate, scope: Scope, room: Room) -> list[Figure]:
    asker, count = Asker(myself()), room.count(500, 20)
    verdicts = {request.command: _verdict(request, gate, scope, asker, count) for request in TYPICAL}
    whole = _verdict(TRANSACTION, gate, scope, asker, count)
    passed = _passes(gate, asker, count)
    return [
        figures.made(
            "guard_us",
            [statistics.median(times) for times in verdicts.values()],
            **{command: figures.median_of(times) for command, times in verdicts.items()},
            first_us={command: figures.short(times[0]) for command, times in verdicts.items()},
        ),
        figures.made("guard_transaction_us", whole, actions=len(_BITMAPS)),
        figures.made("gate_us", passed),
    ]


def _verdict(request: Request, gate: Gate, scope: Scope, asker: Asker, count: int) -> list[float]:
    rights, times = gate.rights(asker), []
    for _number in range(count):
        begun = time.perf_counter()
        verdict = judge(request, scope, rights)
        times.append(1e6 * (time.perf_counter() - begun))
        if not verdict.allowed:
            raise RuntimeError(f"the guard refuses {request.command}: {verdict.reason}")
    return times


def _passes(gate: Gate, asker: Asker, count: int) -> list[float]:
    times = []
    for _number in range(count):
        begun = time.perf_counter()
        ticket = gate.ask(TYPICAL[0], asker)
        gate.close(ticket, Outcome("success"))
        times.append(1e6 * (time.perf_counter() - begun))
    return times
