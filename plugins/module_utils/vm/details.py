# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM does at this moment, by subject: asked of the kernel, of QEMU, of its own files. Nothing is changed."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import bridges
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import addresses
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import EventFile
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.vm.awaited import Watched
from ansible_collections.maqet.qemu.plugins.module_utils.vm.bridged import Bridged
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.networks import network_facts
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual
from ansible_collections.maqet.qemu.plugins.module_utils.vm.rendered import command_line_of
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import listed

Found = t.Dict[str, t.Any]

# Counters of query-blockstats that mean something to people, and their names here.
_COUNTERS = {
    "rd_bytes": "read_bytes",
    "wr_bytes": "written_bytes",
    "rd_operations": "reads",
    "wr_operations": "writes",
    "flush_operations": "flushes",
    "failed_rd_operations": "failed_reads",
    "failed_wr_operations": "failed_writes",
}
# How long the guest's agent may take for an answer, in seconds: a guest that hangs shall not hold up the rest.
_MOMENT = 3.0
_MEMORY = re.compile(r"^(Rss|Pss|Swap):\s+(\d+) kB", re.MULTILINE)


class Details:
    """One VM that has been observed."""

    def __init__(self, where: Layout, paths: VmPaths, actual: Actual, control: Control, seconds: float) -> None:
        self._where = where
        self._paths = paths
        self._actual = actual
        self._control = control
        self._seconds = seconds

    def gather(self, subjects: t.Iterable[str]) -> Found:
        """Each subject under its own name; None where it cannot be had of a VM in this state.

        ``errors`` says for each subject what went wrong, if something did: the others are still returned.
        """
        found: Found = {}
        errors: dict[str, str] = {}
        for subject in subjects:
            try:
                found[subject] = getattr(self, f"_{subject}")()
            except (MaqetError, OSError) as error:
                found[subject], errors[subject] = None, str(error)
        return {**found, "errors": errors} if errors else found

    def _usage(self) -> t.Optional[Found]:
        """CPU time in seconds and memory in bytes of QEMU, and of its runner."""
        qemu, runner = self._actual.qemu, self._actual.runner
        if qemu is None:
            return None
        cpus = self._ask("query-cpus-fast")
        # A name that QEMU gives could lead to any file, such as a pipe that never ends.
        threads = {str(cpu["cpu-index"]): cpu["thread-id"] for cpu in cpus if isinstance(cpu["thread-id"], int)}
        return {
            "qemu": _process(qemu.pid),
            "runner": _process(runner.pid) if runner else None,
            "vcpu_seconds": {
                index: _cpu_seconds(f"/proc/{qemu.pid}/task/{thread}") for index, thread in threads.items()
            },
        }

    def _statistics(self) -> t.Optional[Found]:
        """What went through each disk and each card since QEMU's start."""
        definition = self._actual.definition
        if self._actual.qemu is None or definition is None:
            return None
        disks = {}
        for entry in self._ask("query-blockstats"):
            name, stats = _device(entry.get("qdev", "")), entry["stats"]
            if any(disk["name"] == name for disk in definition.intent.get("disks", ())):
                disks[name] = {ours: stats[theirs] for theirs, ours in _COUNTERS.items() if theirs in stats}
        cards = {
            card["id"]: _traffic(card["interface"]) for card in network_facts(definition, True) if card["interface"]
        }
        return {"disks": disks, "networks": {name: found for name, found in cards.items() if found}}

    def _jobs(self) -> t.Optional[list[Found]]:
        """Long operations that QEMU works on."""
        if self._actual.qemu is None:
            return None
        return [
            {
                "id": job["id"],
                "type": job["type"],
                "status": job["status"],
                "done": job["current-progress"],
                "total": job["total-progress"],
                **({"error": job["error"]} if "error" in job else {}),
            }
            for job in self._ask("query-jobs")
        ]

    def _guest(self) -> t.Optional[Found]:
        """The addresses that the guest's agent tells, as far as it does within a moment."""
        definition = self._actual.definition
        if self._actual.qemu is None or definition is None or not definition.intent.get("agent"):
            return None
        commands = [{"execute": "guest-network-get-interfaces"}]
        with RunnerClient(self._paths.runner_socket, self._paths.name, self._seconds) as client:
            answer = client.request(
                "guest", commands=commands, timeout=min(self._seconds, _MOMENT), **self._control.asker
            )
        self._control.audit += answer["audit"]
        return {"addresses": addresses.of_agent(answer["responses"][0])}

    def _addresses(self) -> t.Optional[list[Found]]:
        """By which addresses the guest is known, and who says so: its agent, or this host's side of its bridges."""
        definition, qemu = self._actual.definition, self._actual.qemu
        if qemu is None or definition is None:
            return None
        macs = [card["mac"] for card in network_facts(definition, True)]
        cards = {macs[index]: bridge for index, bridge in bridges(definition.intent.get("networks", ())).items()}
        here: list[Found] = []
        if cards:
            with contextlib.closing(Bridged(Watched(self._where, self._paths, qemu), cards, "any", once=True)) as seen:
                here = seen.known()
        told: list[Found] = []
        if self._actual.run_state == "running":  # in a guest that is paused nobody would answer
            try:
                told = (self._guest() or {}).get("addresses", [])
            except (MaqetError, OSError):
                if not here:
                    raise
        return [*({**address, "source": "agent"} for address in told), *here]

    def _snapshots(self) -> list[Found]:
        """Those of its disks, the oldest first."""
        runs = self._actual.qemu is not None
        return listed(self._paths, self._actual.definition, self._ask if runs else None)

    def _events(self) -> list[Found]:
        """The last events of this QEMU, or of the last one, oldest first."""
        return EventFile(self._paths.events).load()

    def _command_line(self) -> list[str]:
        """The words with which this QEMU was started, or with which the next one would be."""
        if self._actual.qemu is not None:
            return processes.command_line(self._actual.qemu.pid)
        if self._actual.definition is None:
            return []
        return command_line_of(self._actual.definition, self._where)

    def _ask(self, command: str, arguments: t.Optional[t.Mapping[str, t.Any]] = None) -> t.Any:
        return self._control.send(self._actual, command, self._seconds, arguments)


def _device(path: str) -> str:
    """The id of a device by its path in QEMU's tree: virtio has a back end of its own below it."""
    prefix = "/machine/peripheral/"
    return path[len(prefix) :].partition("/")[0] if path.startswith(prefix) else path


def _traffic(interface: str) -> Found:
    """What went through an interface of the host. What it receives is what the guest has sent."""
    found = {}
    for theirs, ours in (("rx", "sent"), ("tx", "received")):
        for unit in ("bytes", "packets", "errors", "dropped"):
            try:
                with open(f"/sys/class/net/{interface}/statistics/{theirs}_{unit}", encoding="ascii") as file:
                    found[f"{ours}_{unit}"] = int(file.read())
            except OSError:  # it is gone, with its VM
                return {}
    return found


def _process(pid: int) -> Found:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as file:
        memory = {key.lower(): int(kib) * 1024 for key, kib in _MEMORY.findall(file.read())}
    return {"cpu_seconds": _cpu_seconds(f"/proc/{pid}"), "memory": memory}


def _cpu_seconds(folder: str) -> float:
    """User and system time together: proc(5), fields 14 and 15 of stat."""
    with open(f"{folder}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 2)
