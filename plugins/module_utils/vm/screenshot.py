# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``maqet_screenshot`` does: have QEMU write its screen into the VM's output folder, and make a PNG file of it.

The folder is QEMU's, which may have put anything there under any name, links too. So QEMU writes to a name that
nobody could know, what is read is what was opened without following a link, and the result is renamed into its
place, which replaces a link and never follows one.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import os
import re
import secrets
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import forget_unfinished
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths, layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Answer, Asked
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.screenshot import Picture, png, without_screen
from ansible_collections.maqet.qemu.plugins.module_utils.vm.reach import send
from ansible_collections.maqet.qemu.plugins.module_utils.vm.whose import of_system

Params = t.Mapping[str, t.Any]

# A picture of 8000 times 4500 pixels has 108 MB; what is larger is not read into memory. In bytes.
_LARGEST = 128 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}\.png")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclasses.dataclass(frozen=True)
class Plan:
    """One task's options, checked. ``fetch``: the result is to hold the picture."""

    vm: str
    filename: str
    screen: Answer
    fetch: bool
    asked: Asked


def checked(params: Params, check: bool, context: Params) -> Plan:
    """The task's options, refused where they cannot be; no VM has been looked at."""
    if params["timeout"] <= 0:
        raise invalid_option("timeout", params["timeout"], "is no time to wait", "Give seconds, more than 0")
    filename = params["filename"]
    if not _NAME.fullmatch(filename):
        raise invalid_option(
            "filename",
            filename,
            "cannot name a picture",
            "Give a name without a folder, of letters, digits, '.', '_' and '-', that ends in .png",
        )
    head = params["head"]
    if head is not None and head < 0:
        raise invalid_option("head", head, "is no number of a screen", "Count from 0")
    screen = {key: params[key] for key in ("device", "head") if params[key] is not None}
    asked = Asked([], params["timeout"], check=check, reason=params["reason"], context=context)
    return Plan(check_vm_name(params["vm"]), filename, screen, params["dest"] is not None, asked)


def run(plan: Plan) -> Answer:
    """Take the screenshot and return the task's result; MaqetError carries the audit records."""
    where = layout()
    if of_system(where, plan.vm) is not None:
        raise MaqetError(
            f"{plan.vm} is a VM of the system, and its output folder is closed to this user. Use become.",
            "host_error",
        )
    paths = where.vm(plan.vm)
    result: Answer = {"changed": True, "path": os.path.join(paths.output, plan.filename)}
    # The number is the one by which forget_unfinished knows what was left by a task that was killed.
    temporary = f".{plan.filename}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        answer = _taken(where, plan, temporary)
    except MaqetError as error:
        if error.details.get("decisions"):
            error.details["decision"] = error.details.pop("decisions")[0]
        error.details.pop("responses", None)
        raise without_screen(error, plan.vm) from None
    result.update(audit=answer["audit"], events=answer["events"], decision=answer["decisions"][0])
    if not plan.asked.sends:
        return result
    try:
        picture, converted = _filed(paths, temporary, plan.filename)
    except MaqetError as error:
        error.details = {"audit": answer["audit"], **error.details}
        raise
    content = {"content": base64.b64encode(picture.data).decode()} if plan.fetch else {}
    return {**result, **content, **_described(picture), "converted": converted}


def _described(picture: Picture) -> Answer:
    return {
        "width": picture.width,
        "height": picture.height,
        "size": len(picture.data),
        "sha256": hashlib.sha256(picture.data).hexdigest(),
    }


def _taken(where: Layout, plan: Plan, temporary: str) -> Answer:
    """Have QEMU write the file: as PNG if the guard, which knows this QEMU's schema, lets it; else as PPM."""
    arguments = {"filename": temporary, **plan.screen}
    as_png = [{"execute": "screendump", "arguments": {**arguments, "format": "png"}}]
    as_ppm = [{"execute": "screendump", "arguments": arguments}]
    explained = send(where, plan.vm, plan.asked._replace(commands=as_png, check=False, explain=True))
    if explained["decisions"][0]["decision"] == "allow":
        try:
            return send(where, plan.vm, plan.asked._replace(commands=as_png))
        except MaqetError as error:
            if "libpng" not in str(error.details.get("qmp_desc", "")):
                raise
            answer = send(where, plan.vm, plan.asked._replace(commands=as_ppm))
            return {**answer, "audit": error.details.get("audit", []) + answer["audit"]}
    return send(where, plan.vm, plan.asked._replace(commands=as_ppm))


def _filed(paths: VmPaths, temporary: str, filename: str) -> tuple[Picture, bool]:
    """Read what QEMU has written and put it where it belongs; whether it had to be converted."""
    forget_unfinished(paths.output)
    folder = os.open(paths.output, _FOLDER)
    try:
        data, owner = _read(folder, temporary)
        picture = png(data)
        converted = picture.data is not data
        if converted:
            os.unlink(temporary, dir_fd=folder)
            _write(folder, temporary, picture.data, owner)
        os.replace(temporary, filename, src_dir_fd=folder, dst_dir_fd=folder)
        return picture, converted
    except OSError as error:
        raise _refused(os.path.join(paths.output, filename), error.strerror or str(error)) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        os.close(folder)


def _read(folder: int, name: str) -> tuple[bytes, tuple[int, int]]:
    """Content and owner of a plain file of the folder's owner. Not waited for: a pipe could be in its place."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_uid != os.fstat(folder).st_uid:
            raise _refused(name, "it is not the file that QEMU was to write")
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise _refused(name, f"it is larger than {_LARGEST >> 20} MiB")
    return data, (status.st_uid, status.st_gid)


def _write(folder: int, name: str, data: bytes, owner: tuple[int, int]) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with open(fd, "wb") as file:
        os.fchown(fd, *owner)
        file.write(data)


def _refused(path: str, why: str) -> MaqetError:
    return MaqetError(f"{path}: the screenshot cannot be put there or read: {why}.", "file_refused", path=path)
