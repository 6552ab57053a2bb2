# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting QEMU so that nothing of it is lost: its monitors are listening before it runs.

QEMU gets both monitor sockets as listening descriptors. So the first connection needs no waiting
for a file to appear, and if QEMU dies before it answers, the connection ends at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import seed
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import Place, command_line
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_firmware import SHARED
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import accel, chain, files, iso, locks, processes, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import plain_environment
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import Mark
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner import hardware, networks, nvram, premises, tpm
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Crew
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened
from ansible_collections.maqet.qemu.plugins.module_utils.runner.spawn import locked_log, spawn

_DENIED = (
    " QEMU is a user of its own, without root's rights. If that user may use the file, SELinux or AppArmor "
    "may forbid it: see the end of dmesg, or ausearch -m avc -ts recent."
)


class Emulator:
    """A QEMU that runs for us: its process, and what it was started as.

    ``popen`` is None for one that another runner started. Only its parent hears how a process has ended, so of such a
    QEMU :meth:`exit_status` knows what the kernel is willing to say.
    """

    def __init__(
        self, process: processes.Process, pidfd: int, facts: t.Mapping[str, t.Any], qemu_log: str, crew: Crew
    ) -> None:
        """``facts``: binary, accel, uid. ``pidfd`` is ours from now on, and so is the ``crew``."""
        self.process = process
        self.pidfd = pidfd
        self.facts = {"pid": process.pid, "start": process.start, **facts}
        if crew.facts:
            self.facts["helpers"] = crew.facts
        self.crew = crew
        self.popen: t.Optional[subprocess.Popen[bytes]] = None
        self._log = qemu_log

    @property
    def program(self) -> str:
        """The program that runs, also where the file of that name has been replaced since."""
        return f"/proc/{self.process.pid}/exe"

    def exit_status(self) -> t.Optional[int]:
        """Wait for its end; the status as subprocess has it, negative for a signal; None if nobody tells us."""
        if self.popen is not None:
            return self.popen.wait()
        self.process.wait_gone(None)
        return processes.exit_status(self.pidfd)

    def last_words(self) -> str:
        """What it said last, on stdout and stderr."""
        return files.tail(self._log, 5)

    def close(self) -> None:
        """Let go of a QEMU that has ended, and see its helpers gone."""
        self.crew.end()
        os.close(self.pidfd)


def _of(popen: subprocess.Popen[bytes], facts: t.Mapping[str, t.Any], paths: VmPaths, crew: Crew) -> Emulator:
    """The QEMU that we have just started; what it said if it is gone already."""
    pidfd = os.pidfd_open(popen.pid)
    process = processes.of_pid(popen.pid)
    if process is None:
        os.close(pidfd)
        raise failure(popen.wait(), paths, crew)
    found = Emulator(process, pidfd, facts, paths.qemu_log, crew)
    found.popen = popen
    return found


def failure(status: t.Optional[int], paths: VmPaths, crew: Crew) -> MaqetError:
    """Why QEMU did not come up, in its own last words and those of helpers that have failed; these are ended."""
    words = " ".join(filter(None, (files.tail(paths.qemu_log), crew.last_words())))
    crew.end(0.0)
    # The words are those of strerror(EACCES), which QEMU puts at the end. Its own user can be the reason, too.
    denied = _DENIED if "Permission denied" in words else ""
    how = f"was ended by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
    said = f"Its last words: {words or '(none)'}. Check the options that they name.{denied}"
    return MaqetError(
        f"QEMU {how} before it was ready. {said}",
        "qemu_failed",
        qemu_status=status,
        qemu_log=words,
    )


def start(definition: Definition, where: Layout, incoming: t.Optional[Mark] = None) -> Emulator:
    """Start QEMU for ``definition``, paused, with both monitors listening; QEMU outlives its caller.

    One for an ``incoming`` guest is the same machine as the QEMU that sends it, by its full name.

    Its log is locked, by a descriptor that QEMU inherits as its stderr: as long as it lives the kernel
    says so, whatever became of the files that say which process it is.
    """
    paths = where.vm(definition.name)
    if locks.is_held(paths.qemu_log, locks.LETTING_GO):
        raise MaqetError(f"A QEMU of VM {definition.name} still lives.", "runner_failed")
    wanted = effective(definition.intent, os.uname().machine)
    binary = qemu.find_binary(wanted["arch"])
    accelerator = accel.resolve(
        incoming.accel if incoming and incoming.accel else wanted["accel"], wanted["arch"], binary, where.cache
    )
    uid = premises.prepare(where, definition)
    for log in (paths.serial_log, paths.qemu_log):
        files.rotate(log)
    if wanted["display"] == "vnc":
        premises.display(paths, uid)
    with contextlib.ExitStack() as stack:
        monitor = stack.enter_context(_listen(paths.monitor_socket))
        direct = stack.enter_context(_listen(paths.direct_socket))
        opened = Opened(stack)
        agent = stack.enter_context(_listen(paths.agent_socket)) if wanted["agent"] else None
        serial = stack.enter_context(_listen(paths.serial_socket)) if wanted["serial"] == "socket" else None
        rights = {} if uid is None else _rights(uid, accelerator, paths.output)
        crew = stack.enter_context(Crew(paths, rights))
        tpm_fd = tpm.start(wanted["tpm"], paths, crew, opened, uid)
        place = Place(
            name=definition.name,
            uuid=definition.uuid,
            binary=binary,
            accel=accelerator,
            monitor_fd=monitor.fileno(),
            direct_fd=direct.fileno(),
            serial_log=paths.serial_log if uid is None else opened.log(paths.serial_log),
            vnc_socket=paths.vnc_socket,
            host_arch=os.uname().machine,
            disks=definition.files,
            sources=_sources(wanted["disks"], definition, paths, opened, uid),
            renamed={} if uid is None else _renamed(wanted, opened),
            sets=opened.sets,
            agent_fd=agent.fileno() if agent else None,
            serial_fd=serial.fileno() if serial else None,
            vnc_password=_vnc_password(wanted, opened),
            host_nodes=hardware.usb_nodes(wanted["host_devices"], opened),
            ends=networks.ends(wanted["networks"], definition, where, opened, uid, accelerator),
            flash=nvram.flash(wanted, paths, opened, uid),
            tpm_fd=tpm_fd,
            seed=_seed(wanted["cloud_init"], definition, paths, opened, uid),
            incoming=incoming is not None,
        )
        intent = definition.intent
        if incoming is not None and incoming.machine:
            intent = {**intent, "machine": incoming.machine}
        log_fd = locked_log(paths.qemu_log, stack)
        sockets = (listening.fileno() for listening in (monitor, direct, agent, serial) if listening)
        passed = (*sockets, *opened.inherited)
        with hardware.given(wanted, uid):
            popen = spawn(command_line(intent, place), log_fd, passed, paths.output, rights)
    facts = {"binary": binary, "accel": accelerator, "uid": os.geteuid() if uid is None else uid}
    return _of(popen, facts, paths, crew)


def _sources(
    disks: t.Sequence[t.Mapping[str, t.Any]],
    definition: Definition,
    paths: VmPaths,
    opened: Opened,
    uid: t.Optional[int],
) -> dict[str, Source]:
    """How QEMU is to open each disk: by path what its user may open, through the runner what is somebody else's."""
    sources = {}
    for disk in disks:
        if disk["name"] not in definition.files:  # a drive without a medium
            continue
        name, file = disk["name"], definition.files[disk["name"]]
        if uid is None or premises.is_own(file, paths):
            source = Source(file.path, file.driver, files.is_block_device(file.path))
        else:
            source = opened.disk(name, file.path, file.driver, disk["readonly"])
        if uid is not None:
            links = chain.to_pass(name, file.path, file.driver, file.backing, uid)
            source = dataclasses.replace(source, backing=tuple(opened.base(name, link) for link in links))
        sources[name] = source
    return sources


def _seed(
    wanted: t.Mapping[str, t.Any], definition: Definition, paths: VmPaths, opened: Opened, uid: t.Optional[int]
) -> t.Optional[Source]:
    """The seed as the definition wants it now: it is made when QEMU starts, so that it never is an old one."""
    if not wanted:
        files.remove(paths.seed)
        return None
    contents = seed.contents(wanted, definition.name, definition.uuid)
    iso.make(paths.seed, "cidata", seed.label(contents), contents, paths.seed_work)
    return Source(paths.seed, "raw") if uid is None else opened.seed(paths.seed)


def _renamed(wanted: t.Mapping[str, t.Any], opened: Opened) -> dict[str, str]:
    renamed = {key: opened.readable(key, wanted[key]) for key in ("kernel", "initrd") if wanted[key]}
    shares = {SHARED.format(share["tag"]): share["path"] for share in wanted["shares"]}
    return {**renamed, **{key: opened.folder(key, path) for key, path in shares.items()}}


def _vnc_password(wanted: t.Mapping[str, t.Any], opened: Opened) -> t.Optional[str]:
    if wanted["display"] != "vnc" or "password" not in wanted["vnc"]:
        return None
    return opened.secret("vnc", wanted["vnc"]["password"])


def _rights(uid: int, accelerator: str, folder: str) -> dict[str, t.Any]:
    """A user without capabilities, in no group but its own and the one that may use KVM; at home in ``folder``."""
    groups = (accel.kvm_groups() or []) if accelerator == "kvm" else []
    environment = {key: value for key, value in plain_environment().items() if key in ("PATH", "LANG")}
    return {"user": uid, "group": uid, "extra_groups": groups, "env": {**environment, "HOME": folder}}


def _listen(path: str) -> socket.socket:
    """A listening unix socket that only its owner may use (the umask of the runner is 077)."""
    files.remove(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.bind(path)
        listening.listen()
    except BaseException:
        listening.close()
        raise
    return listening
