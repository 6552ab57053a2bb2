# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line that a definition would be started with, without starting anything.

What only a start decides is shown by what it stands for: descriptors have the numbers from 3 on, files that the runner
would open for QEMU their own names, and ``accel: auto`` is what has been proved on this host, or tcg.
"""

from __future__ import annotations

import itertools
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.network_types import ON_HOST
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import Place, command_line
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_firmware import SHARED, Flash
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import End
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.host import accel, firmware, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths

Wanted = t.Mapping[str, t.Any]


def command_line_of(definition: Definition, where: Layout) -> list[str]:
    """QEMU's argv for ``definition``; ``qemu_not_found`` where the host has none for its architecture."""
    paths, host_arch = where.vm(definition.name), os.uname().machine
    wanted = effective(definition.intent, host_arch)
    binary = qemu.find_binary(wanted["arch"])
    numbers = itertools.count(3)
    place = Place(
        name=definition.name,
        uuid=definition.uuid,
        binary=binary,
        accel=accel.resolve(wanted["accel"], wanted["arch"], binary, where.cache),
        monitor_fd=next(numbers),
        direct_fd=next(numbers),
        serial_log=paths.serial_log,
        vnc_socket=paths.vnc_socket,
        host_arch=host_arch,
        agent_fd=next(numbers) if wanted["agent"] else None,
        serial_fd=next(numbers) if wanted["serial"] == "socket" else None,
        tpm_fd=next(numbers) if wanted["tpm"] else None,
        vnc_password=f"/proc/self/fd/{next(numbers)}" if "password" in wanted["vnc"] else None,
        seed=Source(paths.seed, "raw") if wanted["cloud_init"] else None,
        flash=_flash(wanted, paths),
        ends=[_end(network, where, definition.name, numbers) for network in wanted["networks"]],
        host_nodes={index: f"/dev/fdset/{index + 1}" for index in range(len(wanted["host_devices"]))},
        renamed={SHARED.format(share["tag"]): share["path"] for share in wanted["shares"]},
        disks=definition.files,
    )
    return command_line(definition.intent, place)


def _flash(wanted: Wanted, paths: VmPaths) -> t.Optional[Flash]:
    if wanted["firmware"]["type"] != "uefi":
        return None
    build = firmware.find(wanted["firmware"], wanted["arch"], wanted["machine"])
    form = build.template_format
    nvram = None if form is None else Source(os.path.join(paths.nvram, f"vars.{form}"), form)
    smm = wanted["firmware"]["secure_boot"] and wanted["arch"] == "x86_64"
    return Flash(Source(build.code, build.code_format), nvram, smm)


def _end(network: Wanted, where: Layout, vm: str, numbers: t.Iterator[int]) -> End:
    if network["type"] in ON_HOST:
        return End(fds=tuple(str(next(numbers)) for _queue in range(network["queues"])))
    if "peer" in network:
        return End(socket=where.vm(vm).cable(network["peer"]), far=where.vm(network["peer"]).cable(vm))
    return End()
