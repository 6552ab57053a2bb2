# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host can take over a VM that another one offers. Nothing is changed here."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import accel, files, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm import neighbours, networks, preflight, space
from ansible_collections.maqet.qemu.plugins.module_utils.vm.migrate_offer import (
    COPY,
    SAME,
    SHARED,
    Offer,
    adapted,
    content,
    length,
    processor,
)
from ansible_collections.maqet.qemu.plugins.module_utils.vm.unit import Unit


def unfit(option: str, why: str, remedy: str) -> MaqetError:
    """This host cannot take the VM."""
    return MaqetError(
        f"The other host cannot take the VM: {option}: {why}. {remedy}.", "migration_refused", option=option
    )


def check(where: Layout, paths: VmPaths, told: Offer) -> Definition:
    """The definition as it is to be here; ``migration_refused`` or ``invalid_option`` with what is in the way."""
    definition = adapted(told, paths.disks)
    wanted = effective(definition.intent, os.uname().machine)
    binary = qemu.find_binary(wanted["arch"])
    if told["machine"] not in qemu.machines(binary):
        raise unfit(
            "machine",
            f"{binary} ({qemu.version(binary)}) has no {told['machine']}, the machine of the QEMU that runs it",
            "Upgrade QEMU there, or restart the VM with 'machine' set to one that both hosts have",
        )
    found = accel.resolve(told["accel"], wanted["arch"], binary, where.cache)
    if found == "kvm" and wanted["cpu_model"] in (None, "host", "max") and told["cpu"] != processor():
        raise unfit(
            "cpu_model",
            "the guest sees the processor of its host, and that of the other host differs",
            "Restart the VM with a cpu_model that both hosts have",
        )
    preflight.check_definition(definition.intent, where, remember=False)
    networks.check_definition(definition.intent, where, definition.name)
    preflight.check_start(definition.intent)
    networks.check_start(definition.intent)
    Unit(where, paths).plan({}, definition.intent)
    for about in told["same"].values():
        _same("kernel or initrd", about)
    for name, disk in told["disks"].items():
        _disk(disk, definition.files[name].path)
    neighbours.check_start(definition, paths)
    if told["variables"] is not None:
        _firmware(told["variables"])
    _unused(paths)
    return definition


def _disk(disk: t.Mapping[str, t.Any], path: str) -> None:
    option = str(disk["option"])
    if disk["way"] == SAME:
        _same(option, disk)
    elif disk["way"] == COPY:
        if os.path.lexists(path):
            raise unfit(option, f"{path} is there already, and is not overwritten", "Move it away, if nobody needs it")
        space.check_one(option, int(disk["size"]), os.path.dirname(path))
        if "base" in disk:
            _same(f"{option}: base", disk["base"])
    elif disk["way"] == SHARED:
        try:
            found, device = length(path), files.is_block_device(path)
        except OSError as error:
            raise unfit(
                option,
                f"{path} cannot be opened: {error.strerror}",
                "Share it with the other host under the same path, or set storage: copy",
            ) from None
        if device != disk["device"] or (device and found != disk["length"]):
            raise unfit(option, f"{path} is another file", "Share the same one under the same path")


def _same(option: str, about: t.Mapping[str, t.Any]) -> None:
    """A file that both hosts must have, with the same content."""
    path = str(about["path"])
    remedy = f"Copy it from the host that runs the VM to {path}"
    try:
        if length(path) == about["length"] and content(path)["sha256"] == about["sha256"]:
            return
    except OSError as error:
        raise unfit(option, f"{path} cannot be opened: {error.strerror}", remedy) from None
    raise unfit(option, f"{path} has another content there", remedy)


def _firmware(variables: t.Mapping[str, t.Any]) -> None:
    origin = variables["origin"]
    for key, size in variables["lengths"].items():
        path = str(origin[key])
        try:
            found = os.path.getsize(path)
        except OSError as error:
            raise unfit("firmware", f"{path}: {error.strerror}", "Install the same firmware package there") from None
        if found != size:
            raise unfit("firmware", f"{path} has another size there", "Install the same firmware package there")


def _unused(paths: VmPaths) -> None:
    for path in (paths.nvram, paths.tpm):
        if os.path.lexists(path):
            raise unfit(
                "name",
                f"{path} is left there of a VM of this name",
                "Remove it with 'maqet_vm: state=absent purge=true' on that host",
            )
