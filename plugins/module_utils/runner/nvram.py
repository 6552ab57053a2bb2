# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The UEFI variables of a VM: a copy of the firmware's own, which stays with the VM and belongs to QEMU's user.

``origin.json`` beside them says which firmware they belong to. A VM keeps its firmware as long as its files are there:
a newer build of another layout could not read the variables. They are put aside, as ``vars.FORMAT.N``, when
the option ``firmware`` changes, or when the host has no build left that fits them; and taken up again when it changes
back, such as after a start that has failed. ``vars.FORMAT.N.json`` says what they belong to.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_firmware import Flash
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, firmware, status
from ansible_collections.maqet.qemu.plugins.module_utils.host.firmware import Build
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner import premises
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened

log = logging.getLogger("maqet.nvram")


def flash(wanted: t.Mapping[str, t.Any], paths: VmPaths, opened: Opened, uid: t.Optional[int]) -> t.Optional[Flash]:
    """What QEMU is to run from, with the variables in place; None for a VM without UEFI."""
    asked = wanted["firmware"]
    if asked["type"] != "uefi":
        return None
    build = prepare(paths, wanted, uid)
    name = vars_name(build)
    code = Source(build.code, build.code_format) if uid is None else opened.code(build.code, build.code_format)
    nvram = None if name is None else Source(os.path.join(paths.nvram, name), str(build.template_format))
    return Flash(code, nvram, smm=asked["secure_boot"] and wanted["arch"] == "x86_64")


def vars_name(build: Build) -> t.Optional[str]:
    """The file of the variables of a build."""
    return None if build.template is None else f"vars.{build.template_format}"


def prepare(
    paths: VmPaths, wanted: t.Mapping[str, t.Any], uid: t.Optional[int], folders: t.Sequence[str] = firmware.FOLDERS
) -> Build:
    """Decide for a build, and see that its variables are there."""
    asked = {"firmware": dict(wanted["firmware"]), "arch": wanted["arch"]}
    origin = status.read_object(paths.nvram_origin)
    same = origin.get("asked") == asked
    build = _kept(origin) if same and origin.get("machine") == wanted["machine"] else None
    if build is None:
        build = firmware.find(wanted["firmware"], wanted["arch"], wanted["machine"], folders)
    name = vars_name(build)
    if build.template is None or name is None:
        return build
    try:
        size = os.path.getsize(build.template)
        files.make_folder(paths.nvram)
        files.forget_unfinished(paths.nvram)
        fits = same and (origin.get("format"), origin.get("size")) == (build.template_format, size)
        if not fits:
            _put_aside(paths, origin)
        note = {"asked": asked, "machine": wanted["machine"], "format": build.template_format, "size": size}
        note = {**note, "code": build.code, "code_format": build.code_format, "template": build.template}
        if note != origin:
            files.write_json(paths.nvram_origin, note)
        path = os.path.join(paths.nvram, name)
        if not os.path.lexists(path) and not _taken_up(path, note):
            files.copy_atomic(build.template, path)
    except OSError as error:
        raise MaqetError(f"The UEFI variables of the VM cannot be made: {error}.", "host_error") from None
    if uid is not None:
        premises.variables(paths, name, uid)
    return build


def _kept(origin: t.Mapping[str, t.Any]) -> t.Optional[Build]:
    """The build with which the VM has run, if it is still there."""
    names = ("code", "code_format", "template", "format")
    code, code_format, template, template_format = (str(origin.get(name)) for name in names)
    if not (os.path.exists(code) and os.path.exists(template)):
        return None
    return Build(code, code_format, template, template_format)


def _put_aside(paths: VmPaths, origin: t.Mapping[str, t.Any]) -> None:
    for name in ("vars.raw", "vars.qcow2"):
        path = os.path.join(paths.nvram, name)
        if os.path.lexists(path):
            taken = _numbers(path)
            aside = f"{path}.{next(number for number in itertools.count(1) if number not in taken)}"
            log.warning("%s belongs to other firmware: it is kept as %s", path, aside)
            files.write_json(f"{aside}.json", origin)
            os.replace(path, aside)


def _taken_up(path: str, note: t.Mapping[str, t.Any]) -> bool:
    """Whether those were there that the VM had when it last had this firmware."""
    for number in _numbers(path):
        aside = f"{path}.{number}"
        origin = status.read_object(f"{aside}.json")
        if all(origin.get(key) == note[key] for key in ("asked", "format", "size")):
            log.info("%s belongs to this firmware, and is taken up again", aside)
            os.replace(aside, path)
            files.remove(f"{aside}.json")
            return True
    return False


def _numbers(path: str) -> list[int]:
    """Of the files that were put aside."""
    folder, name = os.path.split(path)
    found = (re.fullmatch(rf"{re.escape(name)}\.([1-9][0-9]*)", other) for other in os.listdir(folder))
    return [int(match.group(1)) for match in found if match]
