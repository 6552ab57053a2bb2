# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``maqet_guest`` does beyond single commands: each a question, a comparison, and a command if it takes one."""

from __future__ import annotations

import socket
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import AGENT_PORT
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import addresses
from ansible_collections.maqet.qemu.plugins.module_utils.vm import guest_files
from ansible_collections.maqet.qemu.plugins.module_utils.vm.guest_talk import Answer, Talk

#: Options of the module that say what to do, beside those for single commands.
FORMS = ("put", "get", "fsfreeze", "addresses", "shutdown", "time_sync")
_STATUS = {"execute": "guest-fsfreeze-status", "arguments": {}}
_GET_TIME = {"execute": "guest-get-time", "arguments": {}}
_INTERFACES = {"execute": "guest-network-get-interfaces", "arguments": {}}
# A clock that is not further off is right, in seconds: the question itself may take as long.
_TOLERANCE = 0.5


def needed(form: str, wanted: t.Any) -> list[Answer]:
    """One of each command that it may take."""
    if form in ("put", "get"):
        return guest_files.needed(form, wanted)
    return {
        "fsfreeze": [_STATUS, _freezing(str(wanted))],
        "addresses": [_INTERFACES],
        "shutdown": [_ending(str(wanted))],
        "time_sync": [_GET_TIME, {"execute": "guest-set-time", "arguments": {"time": 0}}],
    }[form]


def do(form: str, wanted: t.Any, talk: Talk, limit: int) -> Answer:
    """The result of a task with that option."""
    if form == "put":
        return guest_files.put(talk, wanted)
    if form == "get":
        return guest_files.get(talk, wanted, limit)
    deeds: dict[str, t.Callable[[Talk, t.Any], Answer]] = {
        "fsfreeze": fsfreeze,
        "addresses": told_addresses,
        "shutdown": shutdown,
        "time_sync": time_sync,
    }
    return deeds[form](talk, wanted)


def fsfreeze(talk: Talk, wanted: str) -> Answer:
    """Have the guest's file systems frozen or thawed. ``filesystems``: how many it was done to."""
    if talk.ask("guest-fsfreeze-status") == wanted:
        return {"changed": False, "fsfreeze": wanted}
    command = _freezing(wanted)
    if talk.check:
        talk.judge([command])
        return {"changed": True, "fsfreeze": wanted}
    count = talk.ask(command["execute"], changes=True)
    now = talk.ask("guest-fsfreeze-status")
    if now != wanted:
        talk.changed = bool(count)
        raise talk.failed(
            MaqetError(
                f"The guest's file systems are {now} after {command['execute']}, which found {count} of them. "
                "See whether it has any that can be frozen.",
                "guest_error",
                command=command["execute"],
            )
        )
    return {"changed": True, "fsfreeze": wanted, "filesystems": count}


def told_addresses(talk: Talk, _wanted: bool) -> Answer:
    """All addresses of the guest, in one form."""
    return {"changed": False, "addresses": addresses.of_agent(talk.ask("guest-network-get-interfaces"))}


def time_sync(talk: Talk, _wanted: bool) -> Answer:
    """Give the guest the host's time. ``offset``: how far it was ahead, in seconds."""
    asked = time.time()
    told = talk.ask("guest-get-time")
    if not isinstance(told, int) or isinstance(told, bool):
        error = MaqetError("The guest's agent answered guest-get-time without a time.", "guest_unreachable")
        raise talk.failed(error)
    offset = round(told / 1e9 - (asked + time.time()) / 2, 3)
    if abs(offset) <= _TOLERANCE:
        return {"changed": False, "offset": offset}
    now = {"execute": "guest-set-time", "arguments": {"time": time.time_ns()}}
    if talk.check:
        talk.judge([now])
    else:
        talk.request([now], True)
    return {"changed": True, "offset": offset}


def shutdown(talk: Talk, mode: str) -> Answer:
    """Have the guest end, and return when it has: QEMU says so, whatever the agent says."""
    command = _ending(mode)
    if talk.check:
        talk.judge([command])
        return {"changed": True, "shutdown": mode}
    with talk.connected() as client:
        client.subscribe(["SHUTDOWN", "RESET", "VSERPORT_CHANGE"])
        talk.request([command], True, client)
        while True:
            try:
                event = client.next_event(talk.deadline)
            except socket.timeout:
                words = f"The guest has taken the command ({mode}) and has not done it in time. Raise 'timeout'."
                raise talk.failed(MaqetError(words, "guest_timeout", sent=True)) from None
            except MaqetError as error:
                raise talk.failed(error) from None
            if _is_end(mode, event):
                return {"changed": True, "shutdown": mode, "event": event}


def _is_end(mode: str, event: Answer) -> bool:
    """A guest that halts does nothing more, so all that is seen of it is that its agent has ended."""
    if event["event"] == "SHUTDOWN":
        return True
    if mode == "halt":
        data = event.get("data", {})
        return event["event"] == "VSERPORT_CHANGE" and data.get("id") == AGENT_PORT and data.get("open") is False
    return mode == "reboot" and event["event"] == "RESET"


def _freezing(wanted: str) -> Answer:
    return {"execute": f"guest-fsfreeze-{'freeze' if wanted == 'frozen' else 'thaw'}", "arguments": {}}


def _ending(mode: str) -> Answer:
    return {"execute": "guest-shutdown", "arguments": {"mode": mode}}
