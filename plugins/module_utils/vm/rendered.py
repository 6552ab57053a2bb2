# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line that a definition would be started with, without starting anything.

What only a start decides is shown by what it stands for: the numbers of descriptors are those from 3 on, and ``accel:
auto`` is what has been proved on this host, or tcg.
"""

from __future__ import annotations

import os

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import Place, command_line
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.host import accel, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout


def command_line_of(definition: Definition, where: Layout) -> list[str]:
    """QEMU's argv for ``definition``; ``qemu_not_found`` where the host has none for its architecture."""
    paths, host_arch = where.vm(definition.name), os.uname().machine
    wanted = effective(definition.intent, host_arch)
    binary = qemu.find_binary(wanted["arch"])
    place = Place(
        name=definition.name,
        uuid=definition.uuid,
        binary=binary,
        accel=accel.resolve(wanted["accel"], wanted["arch"], binary, where.cache),
        monitor_fd=3,
        direct_fd=4,
        serial_log=paths.serial_log,
        vnc_socket=paths.vnc_socket,
        host_arch=host_arch,
        agent_fd=5 if wanted["agent"] else None,
        disks=definition.files,
    )
    return command_line(definition.intent, place)
