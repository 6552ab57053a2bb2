# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of one VM: starts QEMU, owns its main monitor, serves clients, and ends when QEMU ends.

If the runner is ended instead, by whatever signal, QEMU goes on: it was never its prisoner.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
import sys
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.arguments import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Entry
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Gate
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Policy
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, locks, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.host_policy import host_policy
from ansible_collections.maqet.qemu.plugins.module_utils.runner import emulator, libraries
from ansible_collections.maqet.qemu.plugins.module_utils.runner.report import Report
from ansible_collections.maqet.qemu.plugins.module_utils.runner.server import Server
from ansible_collections.maqet.qemu.plugins.module_utils.runner.service import Service
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

log = logging.getLogger("maqet.runner")


def main(argv: t.Optional[t.Sequence[str]] = None) -> int:
    """Run one VM to its end. Exit status 0: it ended; 1: it did not start, and the report says why."""
    options = _parse(argv)
    where = Layout(options.state, options.run, options.log, options.scope, options.config)
    paths = where.vm(options.vm)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
    os.umask(0o077)
    # Neither our memory nor the guest's may end up in a core file: both hold secrets.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    report = Report(paths, options.launch, options.ready_fd)
    signal.signal(signal.SIGTERM, _give_up)
    try:
        libraries.demand()
        with _only_runner(paths):
            asyncio.run(_live(where, paths, report, options.digest))
    except MaqetError as error:
        log.error("%s", error)
        report.failed(error)
        return 1
    except Exception as error:  # pylint: disable=broad-except  # whoever waits for us must hear of it
        log.exception("the runner failed")
        report.failed(MaqetError(f"The runner of VM {paths.name} failed: {error!r}.", "runner_failed"))
        return 1
    return 0


def _give_up(_number: int, _frame: t.Any) -> t.NoReturn:
    """SIGTERM before the event loop has its own answer to it."""
    raise _asked_to_end()


def _asked_to_end() -> MaqetError:
    return MaqetError("The runner was asked to end before QEMU was ready.", "runner_failed")


def _parse(argv: t.Optional[t.Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="maqet-runner", description="Runs one QEMU and owns its monitor.")
    for name in ("vm", "state", "run", "log", "scope", "config", "launch", "digest"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--ready-fd", type=int)
    return parser.parse_args(argv)


@contextlib.contextmanager
def _only_runner(paths: VmPaths) -> t.Iterator[None]:
    """A lock on the VM's own folder, which is never replaced while the VM exists."""
    fd = os.open(paths.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise MaqetError(f"VM {paths.name} already has a runner.", "runner_failed") from None
    finally:
        os.close(fd)


async def _live(where: Layout, paths: VmPaths, report: Report, digest: str) -> None:
    definition = Definition.from_json(files.read_json(paths.definition))
    loop = asyncio.get_running_loop()
    ended, stopped = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    report.starting({"boot_id": processes.boot_id(), "runner": _myself(digest)})
    qemu = emulator.start(definition, where)
    session = Session(definition.name)

    def end() -> None:  # a pidfd stays readable, and would wake the loop for ever
        loop.remove_reader(qemu.pidfd)
        ended.set()

    loop.add_reader(qemu.pidfd, end)
    try:
        facts = _facts(definition, qemu, digest)
        report.starting(facts)
        await _connect(session, paths, qemu, ended, stopped)
        facts["qemu"]["version"] = session.version
        server = _server(definition, where, session, facts)
        await server.listen(paths.runner_socket)
        report.ready(facts)
    except BaseException:
        qemu.process.kill()  # nobody has been told of it, and its guest has not run
        await session.close()
        raise
    log.info("VM %s runs as QEMU %s, pid %d", definition.name, session.version, qemu.process.pid)
    await _first(asyncio.create_task(ended.wait()), asyncio.create_task(stopped.wait()))
    await server.close()
    await session.close()
    if ended.is_set():
        _bury(paths, qemu, session)
    else:
        log.info("asked to end; QEMU goes on without a runner")


def _server(definition: Definition, where: Layout, session: Session, facts: dict[str, t.Any]) -> Server:
    """Guard, audit and socket of a VM whose QEMU has been greeted."""
    paths, qemu = where.vm(definition.name), facts["qemu"]
    policy = host_policy(where, _new_policy)
    identity = VmIdentity(
        definition.name, definition.uuid, qemu["pid"], qemu["start"], session.version, paths.monitor_socket
    )
    gate = Gate(identity, Scope(paths.output, session.commands), AuditLog(paths.audit_log), "ipc", policy)
    hello = {"vm": definition.name, "uuid": definition.uuid, **facts["runner"]}
    mode = 0o666 if where.scope == "system" else 0o600  # the kernel says who connects, the policy what they may
    return Server(Service(session, gate, facts), session, hello, Entry(policy, gate.turn_away), mode)


def _new_policy(policy: Policy) -> None:
    """One line of the log for each policy that we come to obey."""
    log.info("the policy is %s, sha256 %s", policy.id, policy.sha256 or "none")
    for words in (policy.problem, *policy.warnings):
        if words:
            log.warning("%s", words)


async def _connect(
    session: Session, paths: VmPaths, qemu: emulator.Emulator, ended: asyncio.Event, stopped: asyncio.Event
) -> None:
    """Greet QEMU, or find out why it is not there."""
    connecting = asyncio.create_task(session.connect(paths.monitor_socket))
    await _first(connecting, asyncio.create_task(ended.wait()), asyncio.create_task(stopped.wait()))
    error = connecting.exception() if connecting.done() and not connecting.cancelled() else None
    if connecting.done() and not connecting.cancelled() and error is None:
        return
    if stopped.is_set():
        raise _asked_to_end()
    # The connection breaks a moment before the process is gone; a QEMU that talks nonsense must be ended.
    if not await _soon(ended):
        raise MaqetError(f"QEMU's monitor did not come up: {error}", "qemu_failed")
    raise qemu.failure()


async def _soon(ended: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(ended.wait(), 5)
    except asyncio.TimeoutError:
        return False
    return True


async def _first(*tasks: asyncio.Task[t.Any]) -> None:
    """Wait for one of them; cancel the others."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if not task.done():
            task.cancel()


def _myself(digest: str) -> dict[str, t.Any]:
    own = processes.of_pid(os.getpid())
    return {
        "pid": os.getpid(),
        "start": own.start if own else 0,
        "digest": digest,
        "python": sys.executable,
        "python_version": ".".join(map(str, sys.version_info[:3])),
    }


def _facts(definition: Definition, qemu: emulator.Emulator, digest: str) -> dict[str, t.Any]:
    """What the status says, and never changes while the VM runs."""
    return {
        "vm": definition.name,
        "uuid": definition.uuid,
        "boot_id": processes.boot_id(),
        "runner": _myself(digest),
        "qemu": {
            "pid": qemu.process.pid,
            "start": qemu.process.start,
            "version": None,
            "binary": qemu.binary,
            "accel": qemu.accel,
        },
    }


def _bury(paths: VmPaths, qemu: emulator.Emulator, session: Session) -> None:
    """QEMU has ended: say how, and leave nothing in the run folder but the lock of a task that waits for that."""
    status = qemu.exit_status()
    shutdowns = [event.get("data", {}) for event in session.events(0) if event["event"] == "SHUTDOWN"]
    reason = shutdowns[-1].get("reason") if shutdowns else None
    files.write_json(paths.last_exit, {"status": status, "reason": reason, "time": time.time()})
    log.info("QEMU ended with status %d (%s)", status, reason or "no word from the guest")
    for path in (paths.runner_socket, paths.monitor_socket, paths.direct_socket, paths.vnc_socket, paths.status):
        files.remove(path)
    locks.discard(paths.lock)
