# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long an event takes from QEMU to a task that waits for it."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.tests.bench import figures
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.raw import Raw
from ansible_collections.maqet.qemu.tests.bench.room import Room

KEYS: t.Final = ("event_latency_ms",)
_TURN: t.Final = {"RESUME": b'{"execute": "cont"}\n', "STOP": b'{"execute": "stop"}\n'}


def measure(room: Room) -> list[Figure]:
    """QEMU writes the time into each event. We wait for it as ``wait_for_event`` does, with the module's own client.

    The event is made on the second monitor, past the runner, so that nothing but the event is on its way through it.
    Both clocks are the machine's (REALTIME).
    """
    (name,) = room.names(1)
    latencies = []
    with room.vms([name]):
        paths = room.paths(name)
        with (
            RunnerClient(paths.runner_socket, name, 120) as client,
            contextlib.closing(Raw(paths.direct_socket)) as raw,
        ):
            client.subscribe(list(_TURN))
            for event, command in list(_TURN.items()) * room.count(100, 5):
                raw.send(command)
                found = client.next_event()
                latencies.append(1e3 * (time.time() - stamp(found)))
                if found["event"] != event:
                    raise RuntimeError(f"{event} was to come, and {found['event']} has")
                raw.answer()
    return [figures.made("event_latency_ms", latencies)]


def stamp(event: t.Mapping[str, t.Any]) -> float:
    """When QEMU says that it was, in seconds since 1970."""
    when = event["timestamp"]
    return float(when["seconds"]) + float(when["microseconds"]) / 1e6
