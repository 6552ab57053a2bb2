# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's list of commands, for QEMU or for the guest's agent: what was asked, and what has come of it so far."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker
from ansible_collections.maqet.qemu.plugins.module_utils.guard.paths import Place
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import tighten
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Grants
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict

# A client that says nothing of time gets this many seconds for all its commands.
DEFAULT_TIMEOUT = 30.0
# Longer than any VM lives, and a number that every clock here can still add; in seconds.
MAX_TIMEOUT = 1e9
# Commands in one request.
MAX_COMMANDS = 1000

# Commands that have leave to be sent before the first of them is, and the characters of one's arguments: a task that
# only looks waits for the disk once for all of these. Their records together are less than a new runner looks through
# for intents without an outcome (orphans.NEAR).
_TOGETHER, _SMALL = 64, 250

Answer = t.Dict[str, t.Any]


@dataclasses.dataclass
class Batch:
    """What has come of a list of commands so far; all of it is returned, also when one fails."""

    decisions: list[Answer] = dataclasses.field(default_factory=list)
    responses: list[t.Any] = dataclasses.field(default_factory=list)
    audit: list[Answer] = dataclasses.field(default_factory=list)

    def fail(self, error: MaqetError, events: list[Answer]) -> MaqetError:
        """The same error, with everything that had happened before it."""
        error.details = {**vars(self), "events": events, **error.details}
        return error


def requests(message: t.Mapping[str, t.Any], channel: str = "qmp") -> list[Request]:
    """The commands of a request; ``invalid_request`` if they are none."""
    commands = message.get("commands")
    if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
        raise MaqetError("'commands' must be a list of objects with 'execute' and 'arguments'.", "invalid_request")
    if len(commands) > MAX_COMMANDS:  # each denial waits for the disk, and so does who comes after it
        raise MaqetError(f"'commands' may hold {MAX_COMMANDS} commands.", "invalid_request")
    odd = sorted({str(key) for command in commands for key in command} - {"execute", "arguments"})
    if odd:  # exec-oob would be a second door, an id somebody else's answer
        raise MaqetError(f"A command has 'execute' and 'arguments', and no {odd[0][:40]!r}.", "invalid_request")
    consent = message.get("allow_dangerous") is True
    return [Request(command.get("execute"), command.get("arguments") or {}, consent, channel) for command in commands]


def groups(asked: t.Sequence[Request], verdicts: t.Sequence[Verdict]) -> list[list[Request]]:
    """The commands in their order, those together that may ask for leave together: what only looks, and opens nothing.

    Any other has its intent on disk only when all before it are done: what is in the log was really about to happen.
    """
    together: list[list[Request]] = []
    looking = False
    for request, verdict in zip(asked, verdicts):
        before, looking = looking, _only_looks(request, verdict)
        if looking and before and len(together[-1]) < _TOGETHER:
            together[-1].append(request)
        else:
            together.append([request])
    return together


def _only_looks(request: Request, verdict: Verdict) -> bool:
    quiet = verdict.command_class in commands.LOOKING and not verdict.also and not verdict.openings
    return quiet and len(str(request.arguments)) <= _SMALL


def asker_of(message: t.Mapping[str, t.Any], caller: Caller) -> Asker:
    """Who asks, why, and what the request itself takes away; ``invalid_option`` if that is no policy."""
    policy = message.get("policy")
    tighter = () if policy is None else (tighten("task", policy),)
    return Asker(caller, str(message.get("reason") or ""), tighter, _grants(message.get("grants"), caller))


def _grants(value: t.Any, caller: Caller) -> Grants:
    """What the VM's definition names of the host, said by somebody who could write that definition: our own user."""
    if value is None:
        return Grants()
    if caller.uid != os.geteuid():
        raise MaqetError("'grants' is for whoever may define this VM, its runner's own user.", "policy_denied")
    try:
        places = tuple(Place(_text(path), "write" if write else "read") for path, write in value["files"])
        return Grants(places, *(tuple(map(_text, value[key])) for key in ("listen", "devices")))
    except (KeyError, TypeError, ValueError):
        raise MaqetError("'grants' has 'files', of pairs, 'listen' and 'devices'.", "invalid_request") from None


def _text(value: t.Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def seconds(message: t.Mapping[str, t.Any]) -> float:
    """The time that all commands together may take; ``invalid_request`` if it is none."""
    value = message.get("timeout", DEFAULT_TIMEOUT)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise MaqetError("'timeout' must be a number of seconds, more than 0.", "invalid_request")
    return float(min(value, MAX_TIMEOUT))
