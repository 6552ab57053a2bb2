# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The positive control: a QEMU with a bare monitor, on which an attack must succeed to be worth a test."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import Attack, Place, Seen

_SECONDS = 15.0
_BLOCK_JOBS = ("drive-backup", "drive-mirror", "blockdev-create", "block-stream", "blockdev-backup")
#: States of a job in which its work is done, or as done as it gets.
_SETTLED = ("ready", "concluded", "null")


@contextlib.contextmanager
def bare_qemu(place: Place, disk: Path) -> t.Iterator[str]:
    """A paused QEMU with the same devices as the guarded VM; the path of its monitor. It is killed at the end."""
    with socket.socket(socket.AF_UNIX) as listener, (place.run / "qemu.log").open("wb") as log:
        path = str(place.run / "qmp")
        listener.bind(path)
        listener.listen(1)
        arguments = [
            *("qemu-system-x86_64", "-S", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"),
            *(
                "-accel",
                "tcg",
                "-smp",
                "1,maxcpus=2",
                "-m",
                "64,slots=2,maxmem=512M",
                "-device",
                "VGA",
                "-device",
                "qemu-xhci,id=xhci",
            ),
            *("-device", "pcie-root-port,id=rp1,chassis=1", "-device", "ide-cd,id=cd0"),
            *("-blockdev", f"driver=file,node-name=disk-d0-file,filename={disk}"),
            *("-blockdev", "driver=qcow2,node-name=disk-d0,file=disk-d0-file"),
            *("-device", "virtio-blk-pci,drive=disk-d0,id=d0"),
            *("-object", "authz-list,id=authz0,policy=deny", "-vnc", f"unix:{place.run}/vnc,password=on"),
            *("-chardev", f"socket,id=maqet-monitor,fd={listener.fileno()},server=on,wait=off"),
            *("-mon", "maqet-monitor,mode=control", "-mon", "maqet-direct,mode=control"),
            *("-chardev", f"socket,id=maqet-direct,path={place.run}/direct,server=on,wait=off"),
            *("-chardev", f"file,id=maqet-serial,path={place.run}/serial", "-serial", "chardev:maqet-serial"),
        ]
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[listener.fileno()]
        )
        try:
            yield path
        finally:
            process.kill()
            process.wait()
            for line in Path("/proc/self/mounts").read_text().splitlines():  # one of FUSE outlives who served it
                target = Path(line.split()[1])
                if {place.victim, place.disks} & set(target.parents):
                    subprocess.run(["umount", str(target)], check=True)


def attack_bare(attack: Attack, place: Place, disk: Path) -> bool:
    """Whether the attack succeeds on a bare monitor. Waits up to some seconds for its effect."""
    assert callable(attack.effect)
    undo = attack.prepare(place) if attack.prepare else None
    try:
        with bare_qemu(place, disk) as path:
            if attack.raw:
                return _eventually(attack, _raw(place, path, attack.raw))
            with DirectMonitor(path, _SECONDS) as monitor:
                return _eventually(attack, _steps(attack, place, monitor))
    finally:
        if undo is not None:
            undo()


def _steps(attack: Attack, place: Place, monitor: DirectMonitor) -> Seen:
    replies: list[t.Any] = []
    refused: list[bool] = []
    dead = False
    for step in attack.steps:
        try:
            replies.append(monitor.execute(step.command, place.fill(step.arguments)))
            refused.append(False)
            if step.command in _BLOCK_JOBS:
                _settle(monitor)
        except QmpError as error:
            replies.append(f"{error.error_class}: {error.desc}")
            refused.append(True)
        except MaqetError as error:
            replies.append(str(error))
            refused.append(True)
            dead = True
            break
    return Seen(place, replies, refused, dead, "")


def _settle(monitor: DirectMonitor) -> None:
    """Wait for QEMU to say that a job is done."""
    while True:
        event = monitor.next_event()
        if event["event"] == "JOB_STATUS_CHANGE" and event["data"]["status"] in _SETTLED:
            return


def _raw(place: Place, path: str, text: bytes) -> Seen:
    """The bytes as they are, after the greeting; what QEMU says until it hangs up is the only reply."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_SECONDS)
        client.connect(path)
        client.sendall(b'{"execute":"qmp_capabilities"}' + text)
        with client.makefile("rb") as answer:
            reply = answer.read().decode("utf-8", "replace")
    return Seen(place, [reply], [False], True, "")


def _eventually(attack: Attack, seen: Seen) -> bool:
    """The effect of a program or a thread of QEMU takes its moment; this control has no better sign of it."""
    assert callable(attack.effect)
    deadline = time.monotonic() + 4
    while True:
        log = (seen.place.run / "qemu.log").read_text("utf-8", "replace")
        now = Seen(seen.place, seen.replies, seen.refused, seen.dead, log)
        try:
            if attack.effect(now):
                return True
        except OSError:
            pass  # the file or the listener is not there, or not yet
        if time.monotonic() > deadline:
            print(json.dumps(seen.replies)[:2000])
            return False
        time.sleep(0.05)


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def place_at(root: Path, home: Path | None = None, output: Path | None = None) -> Place:
    """A place below ``root``, whose folders everybody may enter, as an attack deserves; the VM's own if given."""
    sockets = Path(tempfile.mkdtemp(prefix="mq-", dir="/tmp"))  # short: a socket's name has 107 bytes
    sockets.chmod(0o755)
    made = {name: root / name for name in ("victim", "output", "disks")}
    if home is not None and output is not None:
        made.update(output=output, disks=home / "disks")
    for folder in made.values():
        folder.mkdir(parents=True, exist_ok=True)
    made["victim"].chmod(0o777)
    return Place(made["victim"], made["output"], made["disks"], sockets, free_port())
