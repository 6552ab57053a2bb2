# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a migration that are done on one of its two hosts. Who asks for them, and in which order, is on the
controller: ``plugin_utils/migration.py``."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import socket
import typing as t
import zlib

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, migration, starting
from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import Mark
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.progress import Progress
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner.launch import launch
from ansible_collections.maqet.qemu.plugins.module_utils.vm import belongings, making, migrate_accept, preflight
from ansible_collections.maqet.qemu.plugins.module_utils.vm.facts import facts
from ansible_collections.maqet.qemu.plugins.module_utils.vm.migrate_offer import COPY, SHARED, offer
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual, load, not_found, observe
from ansible_collections.maqet.qemu.plugins.module_utils.vm.reach import reach
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import sweep
from ansible_collections.maqet.qemu.plugins.module_utils.vm.unit import Unit

Result = t.Dict[str, t.Any]
Data = t.Mapping[str, t.Any]

# How long a runner may take for a step that waits for nothing but QEMU and the disk, in seconds.
_STEP = 120.0
# The runner ends a migration that takes too long; we wait this much longer for it to say so, in seconds.
_GRACE = 180.0


@dataclasses.dataclass(frozen=True)
class Order:
    """Who asks for what. ``data`` is what the controller says beside it; ``looking``: nothing may be changed."""

    where: Layout
    name: str
    who: str
    reason: str
    context: t.Mapping[str, t.Any]
    timeout: float
    looking: bool
    data: Data
    #: Of the migration itself, as the user gave them.
    limits: Data = dataclasses.field(default_factory=dict)


def perform(step: str, order: Order) -> Result:
    """One step by its name."""
    return Steps(order).perform(step)


class Steps:
    """The steps of one VM on this host."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._where = order.where
        self._paths = order.where.vm(order.name)
        self.audit: t.List[Result] = []

    def perform(self, step: str) -> Result:
        """By its name; those that change something hold the VM's lock."""
        looking = {"inspect": self._inspect, "examine": self._examine}
        changing = {
            "receive": self._receive,
            "send": self._send,
            "settle": self._settle,
            "take": self._take,
            "refuse": self._refuse_it,
            "discard": self._discard,
            "recover": self._recover,
            "reclaim": self._reclaim,
            "retire": self._retire,
        }
        try:
            if step in looking:
                return {**looking[step](), "audit": self.audit}
            with locked(self._paths.lock, self._order.timeout, self._order.who, f"VM {self._order.name}"):
                return {**changing[step](), "audit": self.audit}
        except MaqetError as error:
            error.details.setdefault("audit", self.audit)
            raise

    # --- looking ---

    def _seen(self, actual: Actual) -> Result:
        mark = migration.read(self._paths)
        return {
            "defined": actual.definition is not None,
            "runs": actual.qemu is not None,
            "run_state": actual.run_state,
            "mark": None if mark is None else mark.as_dict(),
            "vm": facts(self._paths, actual),
        }

    def _inspect(self) -> Result:
        """What is here of the VM, and what this host offers; ``problem`` if it cannot be sent."""
        order = self._order
        actual = observe(self._where, order.name, order.timeout)
        result: Result = {"seen": self._seen(actual), "limits": dict(order.limits)}
        mark = migration.read(self._paths)
        if mark is not None and mark.held:
            return result
        try:
            if actual.problem is not None:
                raise actual.problem
            if actual.definition is None:
                raise not_found(self._where, order.name)
            if actual.qemu is None:
                raise MaqetError(
                    f"VM {order.name} does not run. Only a VM that runs moves; start it, or copy what it has.",
                    "vm_not_running",
                )
            seen = self._ask("look")
            storage = str(order.data.get("storage", "auto"))
            accel = str(actual.facts["qemu"]["accel"])
            result["offer"] = offer(self._paths, actual.definition, seen, accel, storage)
        except MaqetError as error:
            result["problem"] = error.as_dict()
        return result

    def _examine(self) -> Result:
        """What is here of the VM, and whether this host can take what the other one offers; ``problem`` if not."""
        actual = observe(self._where, self._order.name, self._order.timeout)
        result: Result = {"seen": self._seen(actual)}
        told = self._order.data.get("offer")
        if told is not None and actual.definition is None and result["seen"]["mark"] is None:
            try:
                migrate_accept.check(self._where, self._paths, dict(told))
            except MaqetError as error:
                result["problem"] = error.as_dict()
        return result

    # --- on the host that receives ---

    def _receive(self) -> Result:
        """Make all that the VM needs, and start its QEMU, which waits for the guest. What fails is taken back."""
        data, told = self._order.data, dict(self._order.data["offer"])
        if load(self._paths) is not None or migration.read(self._paths) is not None:
            raise MaqetError(f"VM {self._order.name} is on the other host already.", "vm_exists")
        definition = migrate_accept.check(self._where, self._paths, told)
        copied = [name for name, disk in told["disks"].items() if disk["way"] == COPY]
        shared = [definition.files[name].path for name, disk in told["disks"].items() if disk["way"] == SHARED]
        proofs = [_proof(path, data["id"]) for path in shared if not files.is_block_device(path)]
        made = [*(definition.files[name].path for name in copied), *proofs]
        mark = Mark(data["id"], migration.RECEIVING, data["peer"], True, told["machine"], told["accel"], tuple(made))
        files.make_folder(self._paths.home)
        try:
            migration.write(self._paths, mark)
            for path in proofs:
                files.write_atomic(path, str(data["id"]).encode(), durable=False)
            for name in copied:
                size = int(told["disks"][name]["size"])
                making.perform(making.Job("create_disk", name, definition.files[name], size), self._paths)
            self._unpack(told["variables"])
            files.write_json(self._paths.definition, definition.to_json())
            Unit(self._where, self._paths).prepare(definition.intent)
            preflight.prove(definition.intent, self._where)
            launch(self._where, self._order.name, self._order.timeout)
            self._ask("receive", migration=mark.id, folder=data["folder"], disks=copied)
        except BaseException:
            with contextlib.suppress(MaqetError, OSError):
                self._clear(mark)
            raise
        return {"disks": copied, "proofs": proofs}

    def _unpack(self, variables: t.Optional[Data]) -> None:
        if variables is None:
            return
        files.make_folder(self._paths.nvram)
        files.write_json(self._paths.nvram_origin, dict(variables["origin"]))
        content = zlib.decompress(base64.b64decode(str(variables["content"])))
        files.write_atomic(os.path.join(self._paths.nvram, os.path.basename(str(variables["name"]))), content)

    def _settle(self) -> Result:
        """The VM runs here: what was only needed to come is removed, and it starts with the host if it shall."""
        mark = migration.read(self._paths)
        definition = load(self._paths)
        if mark is not None and definition is not None and mark.phase == migration.ARRIVED:
            for path in mark.made:
                if os.path.basename(path).startswith(_PROOF):
                    files.remove(path)
            Unit(self._where, self._paths).settle(definition.intent)
        return {"seen": self._seen(observe(self._where, self._order.name, self._order.timeout))}

    def _take(self) -> Result:
        """Have a guest go on here that was handed over. A runner that was lost comes back for it, or has done it."""
        mark = self._demanded()
        if mark.phase == migration.RECEIVING:
            self._ask("take", migration=mark.id)
        elif mark.phase == migration.TAKEN:
            self._ask("recover")
        return self._settle()

    def _discard(self) -> Result:
        """Never let it go on here, and remove all that has come."""
        mark = self._demanded()
        if mark.phase == migration.RECEIVING:
            self._refuse(mark)
        elif mark.phase != migration.DISCARDED:
            raise MaqetError(f"VM {self._order.name} runs here, and is not discarded.", "migration_undecided")
        self._clear(mark)
        return {}

    def _refuse_it(self) -> Result:
        """Never let it go on here, and say so durably: then the other host may."""
        mark = self._demanded()
        if mark.phase == migration.RECEIVING:
            self._refuse(mark)
        return {}

    def _refuse(self, mark: Mark) -> None:
        """Durably, by whoever could let it go on: its runner, or we, if there is none and none can come up."""
        actual = observe(self._where, self._order.name, self._order.timeout, look=False)
        if actual.runner is not None and actual.qemu is not None:
            self._ask("discard", migration=mark.id)
            return
        with starting.alone(self._paths, self._order.timeout):
            now = migration.read(self._paths)
            if now is None or now.id != mark.id or now.phase != migration.RECEIVING:
                raise MaqetError(
                    f"The migration of VM {self._order.name} has gone on meanwhile.", "migration_undecided"
                )
            for runner in actual.unready or ((actual.runner,) if actual.runner else ()):
                runner.kill()
                runner.wait_gone(10)
            migration.write(self._paths, mark.moved(migration.DISCARDED))

    def _clear(self, mark: Mark) -> None:
        """End what lives of it, and remove what was made for it. The mark goes with the rest, last."""
        migration.write(self._paths, mark.moved(migration.DISCARDED))
        self._end()
        for path in mark.made:
            files.remove(path)
        for path in (self._paths.nvram, self._paths.tpm):
            files.remove(path)
        files.remove(self._paths.definition)
        Unit(self._where, self._paths).forget()
        sweep(self._paths, Actual())
        belongings.forget(self._paths, purge=False)

    def _end(self) -> None:
        left = observe(self._where, self._order.name, self._order.timeout, look=False)
        living = tuple(process for process in (left.runner, left.qemu, *left.unready) if process is not None)
        sweep(self._paths, Actual(unready=living))

    # --- on the host that sends ---

    def _send(self) -> Result:
        """Send it, and say how far that is. Then the other host runs it."""
        data = self._order.data
        mark = migration.read(self._paths)
        if mark is not None and mark.held:
            raise migration.refusal(self._order.name, mark)
        for path in data.get("proofs", ()):
            if not os.path.exists(path):
                raise MaqetError(
                    f"{os.path.dirname(path)} is not the same folder on both hosts, so the images in it are not "
                    "shared. Share it, or set storage: copy.",
                    "migration_refused",
                )
        keys = ("peer", "folder", "disks", "overlays", "bandwidth", "downtime_limit", "auto_converge")
        asked = {"migration": data["id"], **{key: data[key] for key in keys if key in data}}
        with _Told(self._paths.migration_log, data) as told:
            figures = self._ask("send", self._order.timeout + _GRACE, told, timeout=self._order.timeout, **asked)
        return {"figures": {key: value for key, value in figures.items() if key != "audit"}}

    def _recover(self) -> Result:
        """After a migration that was broken off, and not handed over: the guest goes on here."""
        actual = observe(self._where, self._order.name, self._order.timeout, look=False)
        if actual.qemu is not None:
            self._ask("recover")
        mark = migration.read(self._paths)
        if mark is not None and mark.phase == migration.SENDING:
            if actual.qemu is not None:
                raise MaqetError(
                    f"VM {self._order.name} could not be brought back to where it was. See {self._paths.runner_log}.",
                    "migration_failed",
                )
            migration.forget(self._paths)
        return {"seen": self._seen(observe(self._where, self._order.name, self._order.timeout))}

    def _reclaim(self) -> Result:
        """It was handed over, and will never run there: it goes on here."""
        mark = self._demanded()
        actual = observe(self._where, self._order.name, self._order.timeout, look=False)
        if mark.phase == migration.HANDED_OVER and actual.qemu is not None:
            self._ask("reclaim", migration=mark.id)
        elif mark.phase == migration.HANDED_OVER:
            migration.forget(self._paths)
        return {"seen": self._seen(observe(self._where, self._order.name, self._order.timeout))}

    def _retire(self) -> Result:
        """The other host runs it: nothing of it stays here but its logs, and its images if they are to be kept."""
        mark = self._demanded()
        if mark.phase == migration.HANDED_OVER:
            mark = mark.moved(migration.CONFIRMED)
            migration.write(self._paths, mark)
        if mark.phase != migration.CONFIRMED:
            raise migration.refusal(self._order.name, mark)
        self._end()
        definition = load(self._paths)
        images = belongings.images(self._paths, definition)
        kept = images if self._order.data.get("keep_disks") else []
        for path in [*images, *belongings.state(self._paths)]:
            if path not in kept:
                files.remove(path)
        files.remove(self._paths.definition)
        Unit(self._where, self._paths).forget()
        sweep(self._paths, Actual())
        belongings.forget(self._paths, purge=False)
        return {"kept": kept}

    # --- its runner ---

    def _demanded(self) -> Mark:
        mark = migration.read(self._paths)
        if mark is None or mark.id != self._order.data["id"]:
            raise MaqetError(f"This host knows nothing of migration {self._order.data['id']}.", "migration_unknown")
        return mark

    def _ask(self, do: str, seconds: float = _STEP, told: t.Optional[_Told] = None, **fields: t.Any) -> Result:
        """A step of the VM's runner; its answer. One that is gone is started again, but to look."""
        order = self._order

        def once() -> Result:
            with RunnerClient(self._paths.runner_socket, order.name, seconds) as client:
                if told is not None:
                    client.subscribe([migration.EVENT])
                asked = {"do": do, "reason": order.reason, "context": dict(order.context), **fields}
                client.begin("migrate", **asked)
                return _answer(client, Deadline(seconds), told)

        try:
            answer = reach(self._where, order.name, seconds, once, order.looking)
        except MaqetError as error:
            self.audit += error.details.pop("audit", [])
            if error.error_code == "invalid_request" and "operation" in str(error):
                raise MaqetError(
                    f"The runner of VM {order.name} is of an older version, which cannot send it. Replace it first, "
                    "which the guest does not notice: maqet_vm with runner: upgrade.",
                    "runner_outdated",
                ) from None
            raise
        self.audit += answer.pop("audit", [])
        return answer


def _answer(client: RunnerClient, deadline: Deadline, told: t.Optional[_Told]) -> Result:
    while True:
        answer = client.arrived()
        while client.events:
            event = client.events.pop(0)
            if told is not None:
                told.hear(event)
        if answer is not None:
            return answer
        if not wait_readable([client.fileno()], deadline.left()):
            raise MaqetError(
                "The runner did not answer in time; what became of the migration is not known.", "qmp_timeout"
            )


class _Told:
    """How far a migration is: for the log on this host, and for whoever watches on the controller."""

    def __init__(self, log: str, data: Data) -> None:
        self._progress = Progress(log, f"migration {data['id']} to {data['peer']}")
        self._socket: t.Optional[socket.socket] = None
        if data.get("watch"):
            with contextlib.suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                self._socket.settimeout(5)
                self._socket.connect(str(data["watch"]))

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.close()
        if self._socket is not None:
            self._socket.close()

    def hear(self, event: t.Mapping[str, t.Any]) -> None:
        """One event of the runner's."""
        words = said(event["data"])
        self._progress.say(words)
        if self._socket is not None:
            try:
                self._socket.sendall(f"{words}\n".encode())
            except OSError:  # nobody watches any more
                self._socket.close()
                self._socket = None


def said(data: Data) -> str:
    """An event of a migration in words."""
    phase = str(data["phase"])
    if phase == "memory" and data.get("total"):
        done = 100 - 100 * int(data.get("remaining") or 0) // int(data["total"])
        return f"memory: {done} % of {int(data['total']) >> 20} MiB, {int(data.get('transferred') or 0) >> 20} MiB sent"
    if phase == "disks" and "left" in data:
        return f"disks: {data['left']} left to be copied"
    return phase


_PROOF = ".maqet-migration-"


def _proof(path: str, number: str) -> str:
    """A file that is seen on both hosts if the folder of an image is shared."""
    return os.path.join(os.path.dirname(path), f"{_PROOF}{number}")
