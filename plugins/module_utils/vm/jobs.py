# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of our own modules to a VM that runs, and QEMU's jobs, waited for by their events.

A job goes on in QEMU whatever becomes of who began it, and keeps its outcome until it is dismissed (QEMU QMP
reference, "Background jobs"). So whoever comes after a task that was killed finds its job under the name that it had.
"""

from __future__ import annotations

import secrets
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm.reach import reach

T = t.TypeVar("T")
Arguments = t.Mapping[str, t.Any]

# What a job is in when nothing more happens to it.
_CONCLUDED = "concluded"
_EVENT = "JOB_STATUS_CHANGE"
# The runner ends a command that takes too long; we wait this much longer for it to say so, in seconds: it may have to
# thaw the guest first.
_GRACE = 35.0


class Jobs(Closing):
    """One task's conversation with a VM's runner, or with the next one; all of it must end by ``deadline``."""

    def __init__(
        self, where: Layout, name: str, deadline: Deadline, reason: str, context: Arguments, looking: bool = False
    ) -> None:
        """``looking``: nothing is changed. The guard is asked about what would change something, and nothing is sent;

        a VM whose runner is gone is not given another one for it.
        """
        self._where = where
        self._looking = looking
        self._name = name
        self._paths = where.vm(name)
        self._deadline = deadline
        self._told: dict[str, t.Any] = {"reason": reason, "context": dict(context)}
        self._client: t.Optional[RunnerClient] = None
        self._last_event: t.Optional[int] = None
        #: The audit records of all that was asked.
        self.audit: list[dict[str, t.Any]] = []

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def ask(self, command: str, arguments: t.Optional[Arguments] = None, seconds: t.Optional[float] = None) -> t.Any:
        """One command, guarded and audited like any other; its response. ``seconds`` in place of what is left."""
        return self.request("qmp", [(command, arguments or {})], seconds)["responses"][-1]

    def request(
        self,
        op: str,
        commands: t.Sequence[tuple[str, Arguments]],
        seconds: t.Optional[float] = None,
        check: bool = False,
    ) -> dict[str, t.Any]:
        """An operation of the runner that takes commands, see ``qmp/protocol.py``; its whole answer."""
        listed = [{"execute": command, "arguments": dict(arguments)} for command, arguments in commands]
        left = self._deadline.left() if seconds is None else seconds
        if left <= 0:
            raise MaqetError(
                f"There was no time left for {commands[0][0]}; it was not sent. Raise 'timeout'.", "qmp_timeout"
            )

        def once(client: RunnerClient) -> dict[str, t.Any]:
            client.allow(left + _GRACE)
            return client.request(op, commands=listed, timeout=left, check=check, **self._told)

        try:
            answer = self._talk(once, left)
        except MaqetError as error:
            self.audit += error.details.get("audit", [])
            raise
        self.audit += answer["audit"]
        return answer

    def change(self, op: str, commands: t.Sequence[tuple[str, Arguments]]) -> dict[str, t.Any]:
        """An operation that changes something; with ``looking`` only judged, as the real one would be."""
        return self.request(op, commands, check=self._looking)

    def run(self, prefix: str, command: str, arguments: Arguments) -> None:
        """Begin a job, wait until it has ended, and forget it; ``job_failed`` with QEMU's reason if it fails.

        Each has a name of its own, so that no late event of another one can be taken for its.
        """
        job = f"{prefix}-{secrets.token_hex(4)}"
        self.change("qmp", [(command, {"job-id": job, **arguments})])
        if self._looking:
            return
        self._wait(job)
        problem = self._outcome(job)
        if problem is not None:
            raise MaqetError(f"QEMU's job {command} failed: {problem}.", "job_failed", command=command, reason=problem)

    def settle(self, prefix: str) -> list[tuple[str, t.Optional[str]]]:
        """Wait for the jobs that a task before us has begun, and forget them: the type and the error of each."""
        found = [one for one in self.ask("query-jobs") if one["id"].startswith(f"{prefix}-")]
        for one in found:
            if one["status"] != _CONCLUDED:
                self._wait(one["id"])
        return [(str(one["type"]), self._outcome(one["id"])) for one in found]

    def _outcome(self, job: str) -> t.Optional[str]:
        """The error of a job that has ended, or None; it is gone then."""
        found: dict[str, t.Any] = next((one for one in self.ask("query-jobs") if one["id"] == job), {})
        self.ask("job-dismiss", {"id": job})
        return str(found["error"]).rstrip(".") if "error" in found else None

    def _wait(self, job: str) -> None:
        """Until QEMU has said that the job has ended."""
        while True:
            try:
                event = self._talk(lambda client: client.next_event(self._deadline), self._deadline.left())
            except socket.timeout:
                raise MaqetError(
                    f"QEMU's job {job} did not end within {self._deadline.seconds:g} s, and goes on. The next task "
                    "waits for it. Raise 'timeout'.",
                    "wait_timeout",
                ) from None
            except MaqetError as error:
                if error.error_code != "vm_not_running":
                    raise
                raise MaqetError(f"VM {self._name} ended during QEMU's job {job}.", "vm_exited") from None
            self._last_event = event["seq"]
            if event["event"] == _EVENT and event["data"] == {"id": job, "status": _CONCLUDED}:
                return

    def _talk(self, ask: t.Callable[[RunnerClient], T], seconds: float) -> T:
        """What ``ask`` gets of the runner; of the next one, if it hangs up before it has read the question."""

        def once() -> T:
            if self._client is None:
                self._client = self._connected(seconds)
            try:
                return ask(self._client)
            except Unread:
                self.close()
                raise

        return reach(self._where, self._name, seconds, once, self._looking)

    def _connected(self, seconds: float) -> RunnerClient:
        client = RunnerClient(self._paths.runner_socket, self._name, seconds)
        try:
            subscribed = client.request("subscribe", names=[_EVENT], since=self._last_event)
            if self._last_event is None:
                self._last_event = subscribed["last_event"]
        except BaseException:
            client.close()
            raise
        return client
