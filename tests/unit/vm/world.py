# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM for tests: real processes in the place of QEMU and its runner, and a runner's socket that answers for them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import PROTOCOL
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual, observe
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, Client, FakeServer, Message

Child = subprocess.Popen[bytes]


class _Server(FakeServer):
    side_by_side = True


class FakeVm:
    """The VM ``web`` in a layout of its own. ``obeys`` are the commands that this guest and QEMU follow."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), "user")
        self.paths: VmPaths = self.where.vm("web")
        self.obeys = {"system_powerdown", "quit", "cont", "stop"}
        self.run_state = "running"
        self.heard: list[str] = []
        self.events: list[Message] = []
        #: What it says between the answer to a status and the next request.
        self.after_status: list[Message] = []
        #: What happens when a status has been answered.
        self.on_status: t.Callable[[], None] = lambda: None
        self._stack = contextlib.ExitStack()
        self.qemu: t.Optional[Child] = None
        self.runner: t.Optional[Child] = None

    def close(self) -> None:
        """End all that it has started."""
        self._stack.close()

    def child(self) -> Child:
        """A process that lives until it is ended."""
        process = self._stack.enter_context(subprocess.Popen(["sleep", "infinity"]))
        self._stack.callback(process.kill)
        return process

    def define(self, **intent: t.Any) -> None:
        """Store a definition."""
        os.makedirs(self.paths.home, exist_ok=True)
        data = {"format": 1, "name": "web", "uuid": UUID, "intent": intent, "files": {}}
        files.write_json(self.paths.definition, data)

    def start(self, run_state: str = "running", **changes: t.Any) -> Message:
        """Start its processes and write what a runner writes; ``changes`` falsify the status."""
        os.makedirs(self.paths.run, exist_ok=True)
        self.run_state = run_state
        self.qemu, self.runner = self.child(), self.child()
        status = {
            "vm": "web",
            "uuid": UUID,
            "phase": "ready",
            "boot_id": processes.boot_id(),
            "started": time.time() - 60,
            "qemu": {
                **_identity(self.qemu),
                "version": "7.2.22",
                "binary": "/usr/bin/qemu",
                "accel": "tcg",
                "uid": 1000,
            },
            "runner": _identity(self.runner),
            **changes,
        }
        files.write_json(self.paths.status, status)
        self._server = self._stack.enter_context(_Server(self.paths.runner_socket, self._talk))
        pathlib.Path(self.paths.serial_log).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(self.paths.serial_log).touch()
        return status

    def actual(self) -> Actual:
        """What an observer sees."""
        return observe(self.where, "web", PATIENCE)

    def end(self) -> None:
        """QEMU ends, and so does its runner."""
        assert self.qemu is not None and self.runner is not None
        self.qemu.kill()
        self.qemu.wait()
        self.runner.kill()

    def hang_up(self) -> None:
        """The runner ends all conversations."""
        self._server.close()

    def _talk(self, client: Client) -> None:
        client.send({"hello": {"protocol": PROTOCOL, "vm": "web", "uuid": UUID}})
        while True:
            message = client.receive()
            if message is None:
                return
            after, act = self.after_status, self.on_status  # as they are when it is asked
            client.send({"id": message["id"], "result": self._perform(message, client)})
            if message["op"] == "status":
                client.send(*after)
                act()

    def _perform(self, message: Message, client: Client) -> Message:
        if message["op"] == "status":
            return {"run_state": self.run_state, "last_event": len(self.events)}
        if message["op"] == "subscribe":
            client.send(*({"event": event} for event in self.events))
            return {"last_event": len(self.events)}
        commands = [command["execute"] for command in message["commands"]]
        for command in commands:
            self.heard.append(command)
            self._obey(command)
        audit = [{"op": command, "reason": message["reason"]} for command in commands]
        return {"decisions": [{}] * len(commands), "responses": [{}] * len(commands), "audit": audit, "events": []}

    def _obey(self, command: str) -> None:
        if command not in self.obeys:
            return
        if command in ("quit", "system_powerdown"):
            self.end()
        self.run_state = {"cont": "running", "stop": "paused"}.get(command, self.run_state)


def _identity(child: Child) -> Message:
    process = processes.of_pid(child.pid)
    assert process is not None
    return {"pid": process.pid, "start": process.start}
