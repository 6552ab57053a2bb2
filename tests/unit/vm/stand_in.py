# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runner that answers whoever calls as a test says, and tells events to those who have subscribed."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import PROTOCOL
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID, Client, FakeServer, Message
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

ALLOWED: Message = {"decision": "allow", "class": "guest", "rule": "class-guest", "reason": "", "level": "info"}
DENIED: Message = {**ALLOWED, "decision": "deny", "rule": "policy"}


class StandIn(FakeServer):
    """``asked`` are the requests for commands; ``refuses`` says which command fails with which error."""

    side_by_side = True

    def __init__(self, vm: FakeVm) -> None:
        os.makedirs(vm.paths.run, exist_ok=True)
        self.asked: list[Message] = []
        self.state = "running"
        self.denies: t.Callable[[Message], bool] = lambda command: False
        self.refuses: t.Callable[[Message], t.Optional[Message]] = lambda command: None
        #: Called when a request has been carried out.
        self.then: t.Callable[[], None] = lambda: None
        self._listeners: list[Client] = []
        super().__init__(vm.paths.runner_socket, self._converse)

    def __enter__(self) -> StandIn:
        return self

    @property
    def sent(self) -> list[Message]:
        """The commands that QEMU would have got."""
        sending = [asked for asked in self.asked if not asked["check"] and not asked["explain"]]
        return [command for asked in sending for command in asked["commands"]]

    def tell(self, name: str) -> None:
        """An event for all who listen."""
        for client in self._listeners:
            client.send({"event": {"event": name, "seq": 7, "data": {}}})

    def _converse(self, client: Client) -> None:
        client.send({"hello": {"protocol": PROTOCOL, "vm": "web", "uuid": UUID}})
        while True:
            message = client.receive()
            if message is None:
                self._listeners = [other for other in self._listeners if other is not client]
                return
            if message["op"] == "subscribe":
                self._listeners.append(client)
                client.send({"id": message["id"], "result": {}})
            elif message["op"] == "status":
                client.send({"id": message["id"], "result": {"run_state": self.state, "last_event": 0}})
            else:
                client.send({"id": message["id"], **self._commands(message)})
                self.then()

    def _commands(self, message: Message) -> Message:
        self.asked.append(message)
        done: Message = {"responses": [], "audit": [], "events": []}
        denied = [self.denies(command) for command in message["commands"]]
        done["decisions"] = [DENIED if no else ALLOWED for no in denied]
        if any(denied) and not message["explain"]:
            audit = [] if message["check"] else [{"phase": "deny"}]
            return {"error": {"error_code": "policy_denied", "message": "no", **done, "audit": audit}}
        if message["check"] or message["explain"]:
            return {"result": done}
        for command in message["commands"]:
            done["audit"] += [{"phase": "intent"}, {"phase": "result"}]
            refusal = self.refuses(command)
            if refusal is not None:
                details = {"error_code": "qmp_error", "message": "QEMU refused", "command": command["execute"]}
                return {"error": {**details, **refusal, **done}}
            done["responses"].append({})
        return {"result": done}
