# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seed for cloud-init on the command line."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import Ports
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import json_object, option_string

SEED = "maqet-seed"


def seed_arguments(source: t.Optional[Source], ports: Ports) -> list[str]:
    """The seed for cloud-init: a virtio disk, since some kernels for clouds, Debian's among them, know no SATA at all.

    Behind the disks, so that those keep their names in the guest when it comes or goes; never booted from.
    """
    if source is None:
        return []
    properties = [("id", SEED), ("drive", SEED), ("serial", "cidata"), *ports.next().items()]
    file_node = source.file_node(True, f"{SEED}-file")
    format_node = {"driver": source.driver, "node-name": SEED, "file": f"{SEED}-file", "read-only": True}
    nodes = ["-blockdev", json_object(file_node), "-blockdev", json_object(format_node)]
    return [*nodes, "-device", option_string("virtio-blk-pci", properties)]
