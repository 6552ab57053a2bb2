# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that sends ``query-status`` by what maqet_qmp runs, again and again, until its stdin ends.

For each one it writes a line: empty if it was answered, else what went wrong, and ends. A task that has its process for
itself could not send as many: most of its second is Python starting.
"""

from __future__ import annotations

import sys
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.vm import commands

#: The options of maqet_qmp, as Ansible gives them to it.
_ASKED: t.Final[dict[str, t.Any]] = {
    **dict.fromkeys(("socket", "arguments", "commands", "wait_for_event", "policy", "witness")),
    "command": "query-status",
    "allow_dangerous": False,
    "mode": "ipc",
    "timeout": 60.0,
    "reason": "",
    "explain": False,
}


def main(name: str) -> None:
    """Until told to end, or something fails."""
    while not wait_readable([0], 0):
        problem = ""
        try:
            plan = commands.checked({**_ASKED, "vm": name}, False, {"module": "maqet_qmp"}, "chaos")
            answer = commands.run(plan)
            if not answer["response"]["running"]:
                problem = str(answer)
        except MaqetError as error:
            problem = f"{error.error_code}: {error}"
        print(problem.replace("\n", " "), flush=True)
        if problem:
            break


if __name__ == "__main__":
    main(sys.argv[1])
