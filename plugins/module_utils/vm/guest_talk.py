# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several requests to the agent of one guest, of which each depends on the answers before it, in one task."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.vm.reach import reach

Answer = t.Dict[str, t.Any]

# The runner ends a command that takes too long; the module waits this much longer for it to say so, in seconds.
GRACE = 5.0


class Talk:
    """``fields`` as the operation ``guest`` takes them; its ``timeout`` is for all requests together.

    What has been judged, recorded and changed until then is also in the details of every error.
    """

    def __init__(self, vm: str, fields: t.Mapping[str, t.Any]) -> None:
        self.check = bool(fields["check"])
        self.deadline = Deadline(fields["timeout"])
        #: Whether the guest is, or may be, another than before.
        self.changed = False
        #: The verdict on each command by its name.
        self.verdicts: dict[str, Answer] = {}
        self.audit: list[Answer] = []
        self.events: list[Answer] = []
        self._vm = vm
        self._fields = fields

    def ask(self, command: str, changes: bool = False, **arguments: t.Any) -> t.Any:
        """What the agent answers to one command. ``changes``: the guest is another if it may have got it."""
        return self.request([{"execute": command, "arguments": arguments}], changes)[0]

    def run(self, argv: t.Sequence[str], changes: bool = False) -> Answer:
        """Run a program in the guest and return its status (guest-exec-status) once it has ended."""
        arguments = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        command = {"execute": "guest-exec", "arguments": arguments}
        status = self.request([command], changes, wait_exit=True)[1]
        return status if isinstance(status, dict) else {}

    def judge(self, commands: t.Sequence[Answer]) -> None:
        """Have commands judged that a real run would send; ``policy_denied`` as there."""
        self.request(commands, False, check=True)

    def request(
        self,
        commands: t.Sequence[Answer],
        changes: bool,
        client: t.Optional[RunnerClient] = None,
        **more: t.Any,
    ) -> list[t.Any]:
        """The answers to ``commands``; through ``client`` if somebody listens on it, which is then not tried again."""
        left = self.deadline.left()
        fields = {**self._fields, "check": False, "wait_exit": False, "timeout": max(left, 0.001), **more}
        names = [command["execute"] for command in commands] + ["guest-exec-status"] * bool(fields["wait_exit"])
        try:
            if client is not None:
                answer = client.request("guest", commands=list(commands), **fields)
            else:
                answer = reach(layout(), self._vm, left, lambda: self._once(commands, fields, left), self.check)
        except MaqetError as error:
            # What the agent has refused it has not done; of what it did not answer nobody knows.
            self.changed = self.changed or (changes and bool(error.details.get("sent")))
            self._taken(error.details, names)
            raise self.failed(error) from None
        self.changed = self.changed or changes
        self._taken(answer, names)
        return list(answer["responses"])

    def failed(self, error: MaqetError) -> MaqetError:
        """The same error with all that had happened before it."""
        done = {"audit": self.audit, "decisions": list(self.verdicts.values()), "changed": self.changed}
        error.details = {**error.details, **done}
        error.details.pop("responses", None)
        return error

    def connected(self) -> RunnerClient:
        """A conversation of its own with the runner, for who has to listen before asking."""
        left = self.deadline.left()
        where = layout()
        paths = where.vm(self._vm)
        return reach(
            where, self._vm, left, lambda: RunnerClient(paths.runner_socket, paths.name, left + GRACE), self.check
        )

    def _once(self, commands: t.Sequence[Answer], fields: Answer, left: float) -> Answer:
        paths = layout().vm(self._vm)
        with RunnerClient(paths.runner_socket, paths.name, left + GRACE) as client:
            return client.request("guest", commands=list(commands), **fields)

    def _taken(self, answer: Answer, names: t.Sequence[str]) -> None:
        self.audit += answer.get("audit", [])
        self.events += answer.get("events", [])
        for name, verdict in zip(names, answer.get("decisions", [])):
            self.verdicts[name] = verdict
