# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that our own modules send to a VM: through its runner, or past a runner that is gone."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import (
    Answer,
    Asked,
    Target,
    through_monitor,
    through_runner,
)
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual


class Control:
    """Sends commands of one task to one VM and keeps their audit records."""

    def __init__(self, where: Layout, paths: VmPaths, reason: str, context: t.Mapping[str, t.Any]) -> None:
        self._where = where
        self._paths = paths
        self._reason = reason
        self._context = context
        self.audit: list[dict[str, t.Any]] = []

    @property
    def asker(self) -> dict[str, t.Any]:
        """Who asks and why, as the runner's operations take it."""
        return {"reason": self._reason, "context": dict(self._context)}

    def send(
        self,
        actual: Actual,
        command: str,
        seconds: float,
        arguments: t.Optional[t.Mapping[str, t.Any]] = None,
        grants: t.Optional[t.Mapping[str, t.Any]] = None,
        consent: bool = False,
    ) -> t.Any:
        """One command, guarded and audited like any other; its response. ``grants``: see :class:`Asked`."""
        sent = {"execute": command, **({"arguments": arguments} if arguments else {})}
        asked = Asked([sent], seconds, consent, reason=self._reason, context=self._context, grants=grants)
        try:
            answer = self._send(actual, asked)
        except MaqetError as error:
            self.audit += error.details.get("audit", [])
            raise
        self.audit += answer["audit"]
        return answer["responses"][0]

    def _send(self, actual: Actual, asked: Asked) -> Answer:
        hangs = actual.problem is not None and actual.problem.error_code == "runner_unreachable"
        if actual.runner is not None and actual.runner.alive() and not hangs:
            try:
                return through_runner(self._paths.runner_socket, self._paths.name, asked)
            except MaqetError as error:  # what we send here may be sent twice without harm
                if error.error_code != "runner_unreachable":
                    raise
        return through_monitor(target(self._where, self._paths, actual), asked)


def target(where: Layout, paths: VmPaths, actual: Actual) -> Target:
    """The direct monitor of a VM of ours."""
    return Target(
        where,
        paths.direct_socket,
        paths.name,
        paths.audit_log,
        paths.home,
        paths.definition,
        actual.facts.get("uuid"),
        actual.qemu.pid if actual.qemu else None,
        actual.qemu.start if actual.qemu else None,
    )
