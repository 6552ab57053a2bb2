# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guarded VM as a target: attacks are sent to it through maqet_qmp, and what became of each is told in words."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.attacks.picture import (
    children,
    differences,
    open_sockets,
    picture,
)
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import Attack, Place, Step
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, NOTHING, Local, Result

#: A drive for CDs, on the port that a PC has, or on one of its own.
_DRIVE = (
    ("-device", "ich9-ahci,id=ahci", "-device", "ide-cd,id=cd0,bus=ahci.0")
    if ARCH == "aarch64"
    else ("-device", "ide-cd,id=cd0")
)
#: The same devices as those of the bare QEMU.
WANTED: Result = {
    **NOTHING,
    "display": "vnc",
    "disks": [{"name": "d0", "size": "4M"}],
    "extra_args": [
        *("-device", "qemu-xhci,id=xhci", "-device", "pcie-root-port,id=rp1,chassis=1", *_DRIVE),
        *("-object", "authz-list,id=authz0,policy=deny", "-smp", "maxcpus=2"),
    ],
}
#: Of the VM's folder: what a running VM writes itself.
_LIVING = ("qemu.log", "serial.log")
#: Commands of one task in a list: its result must stay readable.
_AT_ONCE = 25
_REFUSALS = ("policy_denied", "invalid_command")


@dataclasses.dataclass(frozen=True)
class Target:
    """A running VM under the guard, and the folders in which its attackers work."""

    local: Local
    name: str
    facts: Result
    place: Place

    @property
    def log(self) -> str:
        """The path of its audit log."""
        return str(self.facts["audit_log"])

    def place_of(self, attack: Attack) -> Place:
        """A victim's folder for each attack; the other places are the VM's own."""
        return dataclasses.replace(self.place, victim=self.place.victim / attack.name)

    def prepare(self, attack: Attack) -> t.Callable[[], None] | None:
        """Make what the attack needs; returns what undoes it."""
        place = self.place_of(attack)
        place.victim.mkdir()
        place.victim.chmod(0o777)
        return attack.prepare(place) if attack.prepare else None

    def task(self, attack: Attack, step: Step, mode: str, consent: bool) -> Result:
        """One step as a task."""
        options = {
            "vm": self.name,
            "command": step.command,
            "arguments": self.place_of(attack).fill(step.arguments),
            "mode": mode,
            "allow_dangerous": consent and not step.consent,
        }
        return {"maqet_qmp": options}

    def listed(self, steps: t.Sequence[tuple[Attack, Step]], mode: str, consent: bool) -> Result:
        """The options of many steps as one task, which is refused as a whole with a record for each."""
        commands = [
            {"command": step.command, "arguments": self.place_of(attack).fill(step.arguments)} for attack, step in steps
        ]
        return {"vm": self.name, "commands": commands, "mode": mode, "allow_dangerous": consent}

    def look(self) -> dict[str, t.Any]:
        """All that no attack may change."""
        folders = (self.place.victim, Path(self.facts["home"]), self.place.run)
        pid = self.facts["qemu_pid"]
        return {
            "files": picture(*folders, without=_LIVING),
            "children": children(pid),
            "sockets": open_sockets(pid),
        }

    def harm(self, before: dict[str, t.Any]) -> list[str]:
        """What is no longer as it was, in words."""
        after = self.look()
        found = [f"file {path}: {change}" for path, change in differences(before["files"], after["files"]).items()]
        found += [
            f"{what}: {before[what]} -> {after[what]}"
            for what in ("children", "sockets")
            if before[what] != after[what]
        ]
        alive = modules.must("maqet_vm", name=self.name)["vm"]
        if alive["qemu_pid"] != self.facts["qemu_pid"] or alive["status"] != "running":
            found.append(f"QEMU {self.facts['qemu_pid']} is now {alive['qemu_pid']}, {alive['status']}")
        report = verify(self.log)
        return found if report.ok else [*found, f"audit chain: {report}"]

    def denials(self) -> int:
        """How many denials its log holds."""
        return sum(record["phase"] == "deny" for record in read(self.log))


def complaint(attack: Attack, step: Step, result: Result) -> str | None:
    """What is wrong with the answer to a step, or None."""
    if step.expect == "setup":
        return f"{attack.name}: {step.command} should pass: {result['msg']}" if result["failed"] else None
    if result.get("error_code") not in _REFUSALS:
        what = result.get("msg") or f"it was sent: {result.get('response')!r}"
        what += str(result.get("module_stderr", ""))
        return f"{attack.name}: {step.command} {step.arguments} is not refused: {result.get('error_code')}: {what}"
    phases = [record["phase"] for record in result["audit"]]
    if phases != ["deny"]:
        return f"{attack.name}: {step.command} left the records {phases}"
    decision = result.get("decision") or {}
    missing = [key for key in ("rule", "reason", "remedy") if not decision.get(key)]
    if result["error_code"] != "invalid_command" and (decision.get("decision") != "deny" or missing):
        return f"{attack.name}: {step.command}: the verdict lacks {missing}: {decision}"
    said = f"{decision.get('rule')} {result['msg']}".lower()
    if attack.blames and not any(word.lower() in said for word in attack.blames.split()):
        return f"{attack.name}: {step.command}: the reason says nothing of {attack.blames!r}: {result['msg']}"
    return None


def in_turn(target: Target, attacks: t.Sequence[Attack], mode: str, consent: bool) -> list[str]:
    """Every step of every attack as a task of its own, all in one play; complaints."""
    steps = [(attack, step) for attack in attacks for step in attack.steps if step.expect != "follow"]
    results = target.local.run(*(target.task(attack, step, mode, consent) for attack, step in steps))
    found = [complaint(attack, step, result) for (attack, step), result in zip(steps, results)]
    return [text for text in found if text is not None]


def at_once(target: Target, attacks: t.Sequence[Attack], mode: str, consent: bool) -> list[str]:
    """The denied steps in lists, of which not one command may be sent; complaints.

    The module is given them as they are: a play adds nothing to an attack, and the proofs go through one in turn.
    """
    steps = [(a, s) for a in attacks for s in a.denied if not (consent and s.consent)]
    parts = [steps[start : start + _AT_ONCE] for start in range(0, len(steps), _AT_ONCE)]
    found: list[str] = []
    for part in parts:
        result = modules.run_module("maqet_qmp", target.listed(part, mode, consent)).result
        denied = [record["op"] for record in result.get("audit", []) if record["phase"] == "deny"]
        if denied != [step.command for _attack, step in part]:
            found += _let_through(target, part, mode, consent) or [f"{result.get('msg')}: records of {denied}"]
    return found


def _let_through(target: Target, part: t.Sequence[tuple[Attack, Step]], mode: str, consent: bool) -> list[str]:
    """Which of a list the guard would send: asked one by one in check mode, so that it is not sent here."""
    tasks = [{**target.task(attack, step, mode, consent), "check_mode": True} for attack, step in part]
    results = target.local.run(*tasks)
    return [
        f"{attack.name}: {step.command} {step.arguments} would be sent: {result.get('decision') or result.get('msg')}"
        for (attack, step), result in zip(part, results)
        if (result.get("decision") or {}).get("decision") != "deny"
    ]
