# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking over a QEMU whose runner is gone: finding it beyond doubt, and putting in order what the other one left."""

from __future__ import annotations

import asyncio
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import emulators, locks, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.emulator import Emulator
from ansible_collections.maqet.qemu.plugins.module_utils.runner.errand import OPAQUE
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Crew
from ansible_collections.maqet.qemu.plugins.module_utils.runner.libraries import QMPError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session, now

# How long a QEMU may take to greet us, in seconds. One that is stopped or hangs is left as it is.
_GREETING = 20.0

#: What clients see among the events where some may have been lost.
EVENT = "MAQET_ADOPTED"


def find(definition: Definition, paths: VmPaths, status: t.Mapping[str, t.Any]) -> t.Optional[Emulator]:
    """The QEMU of this VM if it lives; ``qemu_unidentified`` if something lives that may be it.

    ``status``: what a runner of this boot wrote down, or {}. Who started it does not matter, nor whether its program
    has been replaced since.
    """
    noted = processes.noted(status.get("qemu"))
    found = None if noted is None else emulators.look_at(noted, paths)
    found = found or emulators.of_vm(paths, definition.uuid)
    if found is None or found.uuid != definition.uuid:
        if found is not None or locks.is_held(paths.qemu_log, locks.LETTING_GO):
            raise emulators.unidentified(paths, f"{paths.qemu_log} is locked, and no process is it beyond doubt")
        return None
    pidfd = found.process.open()
    if pidfd is None:
        return None
    known = status.get("qemu", {}) if noted == found.process else {}
    facts = {
        "binary": known.get("binary") or found.words[0],
        "accel": known.get("accel") or processes.argument(found.words, "-accel"),
        "uid": known.get("uid", _uid(found.process)),
    }
    return Emulator(found.process, pidfd, facts, paths.qemu_log, Crew.adopt(paths, known.get("helpers")))


async def connect(session: Session, definition: Definition, paths: VmPaths) -> None:
    """Greet the QEMU that was found, make sure of its uuid, and say among the events that it was taken over."""
    try:
        await asyncio.wait_for(session.connect(paths.monitor_socket), _GREETING)
        about: t.Any = await session.execute("query-uuid", {}, _GREETING)
    except (QMPError, QmpError, OSError, EOFError, asyncio.TimeoutError) as error:
        raise MaqetError(
            f"The QEMU of VM {paths.name} lives, and its monitor does not answer: {str(error) or 'no greeting'}. It is "
            f"left as it is. 'maqet_vm: state=restarted force=true' ends it.",
            "monitor_unreachable",
        ) from None
    if about.get("UUID") != definition.uuid:
        raise emulators.unidentified(paths, f"what answers at its monitor has the uuid {about.get('UUID')}")
    await _forget_files(session)
    session.take({"event": EVENT, "data": {"run_state": await session.run_state()}, "timestamp": now()})


async def _forget_files(session: Session) -> None:
    """Have QEMU close what the other runner had opened for a command and could not take back."""
    try:
        sets: t.Any = await session.execute("query-fdsets", {}, _GREETING)
        for one in sets:
            if one["fds"] and all(str(fd.get("opaque", "")).startswith(OPAQUE) for fd in one["fds"]):
                await session.execute("remove-fd", {"fdset-id": one["fdset-id"]}, _GREETING)
    except (QmpError, MaqetError, KeyError, TypeError):  # a tidier QEMU is all that is lost
        return


def _uid(process: processes.Process) -> t.Optional[int]:
    try:
        return os.stat(f"/proc/{process.pid}").st_uid
    except OSError:
        return None
