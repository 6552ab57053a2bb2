# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QMP commands as a module asks for them, sent one of two ways with one kind of answer.

``ipc``: the runner judges, records and sends. ``direct``: we do, with the same guard and the same
log, on a monitor of our own. What is imported only there is imported only then: a task in ``ipc``
mode pays for nothing of it.
"""

from __future__ import annotations

import socket
import time
import typing as t
from types import MappingProxyType

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient

Answer = t.Dict[str, t.Any]

# The runner ends a command that takes too long; the module waits this much longer for it to say so, in seconds.
_GRACE = 5.0


# NamedTuples, as in host/paths.py: every task makes these classes, and a dataclass takes eight times as long to make.
class Asked(t.NamedTuple):
    """Commands (``{"execute", "arguments"}`` each), and all that the guard and the audit want to know of them."""

    commands: t.Sequence[t.Mapping[str, t.Any]]
    seconds: float
    allow_dangerous: bool = False
    check: bool = False
    reason: str = ""
    context: t.Mapping[str, t.Any] = MappingProxyType({})
    wait_for_event: t.Optional[str] = None
    explain: bool = False
    policy: t.Optional[t.Mapping[str, t.Any]] = None
    witness: t.Optional[t.Mapping[str, t.Any]] = None
    #: What the VM's definition gives QEMU of the host, for a runner alone: ``files`` (path, whether to write),
    #: addresses to ``listen`` on, network ``devices``.
    grants: t.Optional[t.Mapping[str, t.Any]] = None

    @property
    def sends(self) -> bool:
        """Whether QEMU is to get the commands at all."""
        return not (self.check or self.explain)


class Target(t.NamedTuple):
    """A QEMU to speak to without its runner. ``home`` is None for one that is not ours."""

    where: Layout
    socket: str
    name: str
    audit_log: str
    home: t.Optional[str] = None
    definition: t.Optional[str] = None
    uuid: t.Optional[str] = None
    pid: t.Optional[int] = None
    start: t.Optional[int] = None


def through_runner(path: str, name: str, asked: Asked) -> Answer:
    """Send ``asked`` to the runner of ``name``: responses, decisions, audit, events. MaqetError as it reports it."""
    begun = time.monotonic()
    with RunnerClient(path, name, asked.seconds + _GRACE) as client:
        if asked.wait_for_event and asked.sends:
            client.subscribe([asked.wait_for_event])
        answer = client.request(
            "qmp",
            commands=[dict(command) for command in asked.commands],
            allow_dangerous=asked.allow_dangerous,
            check=asked.check,
            reason=asked.reason,
            context=dict(asked.context),
            timeout=asked.seconds,
            explain=asked.explain,
            policy=asked.policy,
            witness=asked.witness,
            grants=asked.grants,
        )
        if asked.wait_for_event and asked.sends:
            try:
                event = client.next_event(Deadline(max(0.0, asked.seconds - (time.monotonic() - begun))))
            except socket.timeout:
                error = no_event(asked)
                error.details.update(answer)
                raise error from None
            if all(event["seq"] != other["seq"] for other in answer["events"]):
                answer["events"].append(event)
        return answer


def through_monitor(target: Target, asked: Asked) -> Answer:
    """The same for ``mode: direct``; the monitor is free again afterwards, whatever happens."""
    from ansible_collections.maqet.qemu.plugins.module_utils.qmp import guarded

    return guarded.send(target, asked)


def no_event(asked: Asked) -> MaqetError:
    """``wait_timeout`` for an event that did not come."""
    return MaqetError(
        f"{asked.wait_for_event} did not come within {asked.seconds:g} s of the command. Raise 'timeout', or check "
        "the event's name in QEMU's QMP reference.",
        "wait_timeout",
    )
