# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands to QEMU while the guest's file systems are frozen.

It is done here and not by the module: a task that is killed must not leave a guest that cannot write.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.runner.batch import Answer

Serve = t.Callable[[t.Mapping[str, t.Any], Caller], t.Awaitable[Answer]]

# How long the agent may take to thaw, whatever is left of the request's own time, in seconds.
_THAW = 30.0
_FREEZE_COMMAND, _THAW_COMMAND = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


async def serve(guest: Serve, qmp: Serve, message: t.Mapping[str, t.Any], caller: Caller) -> Answer:
    """Freeze, send the request's QMP commands, thaw; ``frozen`` is the number of file systems.

    All are judged before the first is sent. What fails in between, and a freeze of unknown outcome, is thawed too;
    ``thawed`` is False in the error's details if that has failed.
    """
    ours = {key: value for key, value in message.items() if key in ("reason", "context", "policy")}
    both = [{"execute": _FREEZE_COMMAND}, {"execute": _THAW_COMMAND}]
    await guest({**ours, "commands": both, "check": True}, caller)
    answer = await qmp({**message, "check": True}, caller)
    if message.get("check") or message.get("explain"):
        return answer
    audit: list[Answer] = []
    count: t.Any = None
    problem: t.Optional[MaqetError] = None
    late: t.Optional[MaqetError] = None
    try:
        first = await guest({**ours, "commands": both[:1], "timeout": message.get("timeout", _THAW)}, caller)
        audit += first["audit"]
        count = first["responses"][0]
        answer = await qmp(message, caller)
        audit += answer["audit"]
    except MaqetError as error:
        audit += error.details.get("audit", [])
        problem = error
    finally:
        if problem is None or not _not_ours(problem):
            late = await _thaw(guest, {**ours, "commands": both[1:], "timeout": _THAW}, caller, audit)
    failure = problem or late
    if failure is None:
        return {**answer, "audit": audit, "frozen": count}
    refused = count is None and problem is not None and problem.error_code == "guest_error"  # it has not frozen either
    unthawed = {"thawed": False} if late is not None and not refused else {}
    raise MaqetError(str(failure), failure.error_code, **{**failure.details, "audit": audit, **unthawed})


async def _thaw(
    guest: Serve, request: t.Mapping[str, t.Any], caller: Caller, audit: list[Answer]
) -> t.Optional[MaqetError]:
    try:
        audit += (await guest(request, caller))["audit"]
    except MaqetError as error:
        audit += error.details.get("audit", [])
        return error
    return None


def _not_ours(problem: MaqetError) -> bool:
    """Whether the agent has certainly not frozen anything for us.

    While somebody else has it frozen it does not know the command (ga_freeze_allowlist in QEMU's qga/main.c), and must
    not be thawed under their hands.
    """
    unknown = problem.error_code == "guest_error" and problem.details.get("guest_class") == "CommandNotFound"
    return unknown or problem.error_code == "guest_agent_unavailable" or problem.details.get("sent") is False
