# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block nodes: which files they open, also those that only an image's header names.

Sources: "blockdev-add" and BlockdevOptions in QEMU's QMP reference.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard import images
from ansible_collections.maqet.qemu.plugins.module_utils.guard.case import Case, quoted
from ansible_collections.maqet.qemu.plugins.module_utils.guard.paths import Found, Misleading, locate, reopen
from ansible_collections.maqet.qemu.plugins.module_utils.guard.rules_files import find, new_file, old_file
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Refusal
from ansible_collections.maqet.qemu.plugins.module_utils.guard.walk import Leaf, Node

#: Nodes that pass their file on as it is: the header that the format above them reads is the file's own.
_TRANSPARENT = frozenset({"throttle", "copy-on-read", "preallocate"})

#: Images that refer to images that refer ...: more than this is no chain that anybody built on purpose.
_MAX_CHAIN = 64

#: Option -> values that weaken a node, and why.
_WEAK: tuple[tuple[str, t.Any, str], ...] = (
    ("force-share", True, "opens an image that something else may be writing"),
    ("locking", "off", "opens an image without the lock that keeps others out"),
    ("sslverify", False, "takes any server's word for who it is"),
    ("rw", True, "lets the guest write into a folder of the host"),
)


def node_file(leaf: Leaf, case: Case) -> Refusal | None:
    """``filename`` of the drivers file, host_device, ...: read-only unless the policy lets it be written."""
    node = case.node_of(leaf)
    access = "read" if node is not None and read_only(node) else "write"
    return old_file(leaf, case, access, how="fdset")


def image_target(leaf: Leaf, case: Case) -> Refusal | None:
    """The file that drive-mirror, drive-backup or blockdev-snapshot-sync writes an image to."""
    if case.no_word_on_files:
        return None
    options = leaf.holders[-1]
    if options.get("mode", "absolute-paths") != "existing":
        return new_file(leaf, case, opened=False)
    if not isinstance(options.get("format"), str):
        return case.refuse(leaf, "is opened by guessing its format", "Say which with 'format'.")
    return _whole_image(leaf, case, options["format"], "write")


def medium(leaf: Leaf, case: Case) -> Refusal | None:
    """The file that blockdev-change-medium inserts."""
    if case.no_word_on_files:
        return None
    options = leaf.holders[-1]
    if not isinstance(options.get("format"), str):
        return case.refuse(leaf, "is opened by guessing its format", "Say which with 'format'.")
    writable = options.get("read-only-mode", "retain") != "read-only"
    if writable and not case.scope.own:
        return case.refuse(leaf, "might be opened for writing", "Set read-only-mode: read-only.")
    return _whole_image(leaf, case, options["format"], "write" if writable else "read")


def stored_name(leaf: Leaf, case: Case) -> Refusal | None:
    """A name that goes into an image's header, and is opened whenever that image is."""
    if case.no_word_on_files or leaf.value == "":  # an empty name removes the reference
        return None
    if isinstance(leaf.value, str) and not leaf.value.startswith("/"):
        return case.refuse(
            leaf, "is no absolute path, and only the image's later place says what it means", "Give it in full."
        )
    options = leaf.holders[-1]
    form = options.get("backing-fmt")
    if "backing-fmt" not in options and leaf.root == "BlockdevCreateOptions" and options.get("driver") != "vmdk":
        return case.refuse(leaf, "would be opened later by guessing its format", "Say which with 'backing-fmt'.")
    found = find(leaf, case, "read")
    if isinstance(found, Refusal):
        return found
    if found.kind != "file":
        return case.refuse(leaf, "is not an existing regular file", "Name an existing image.")
    return _refers(leaf.where, found, form, case, 0)


def created_file(leaf: Leaf, case: Case) -> Refusal | None:
    """``filename`` of blockdev-create with the driver file: a new one."""
    return new_file(leaf, case, opened=False)


def node(one: Node, case: Case, lifted: t.Callable[[str], bool]) -> Refusal | None:
    """One node apart from its single fields. ``lifted``: whether the policy names this option of the command."""
    options = one.options
    for key, value, why in _WEAK if case.base else ():
        if options.get(key) == value and type(options.get(key)) is type(value) and not lifted(_option(one, key)):
            return Refusal("flag", f"{_option(one, key)}: {value!r} {why}", f"Leave {key} out.")
    check = options.get("host-key-check") if case.base else None
    if isinstance(check, dict) and check.get("mode") == "none" and not lifted(_option(one, "host-key-check.mode")):
        return Refusal(
            "flag",
            f"{_option(one, 'host-key-check.mode')} 'none' takes any server's word",
            "Use host-key-check.mode: known_hosts, or hash.",
        )
    driver = options.get("driver")
    if case.no_word_on_files or driver not in images.REFERRING or lifted(_option(one, "file")):
        return None
    return _header(one, str(driver), case)


def read_only(one: Node) -> bool:
    """Whether QEMU opens this node for reading only: its own word, or that of the node above it (block.c)."""
    seen: Node | None = one
    while seen is not None:
        value = seen.options.get("read-only")
        if isinstance(value, bool):
            return value
        if seen.where.rpartition(".")[2] == "backing":
            return True
        seen = seen.parent
    return False


def _option(one: Node, key: str) -> str:
    return f"{one.where}.{key}" if one.where else key


def _header(one: Node, driver: str, case: Case) -> Refusal | None:
    """What the header of the image below this node names, unless options name it in its place."""
    options = one.options
    where = _option(one, "file")
    below = options.get("file")
    while isinstance(below, dict) and below.get("driver") in _TRANSPARENT:
        below = below.get("file")
    if not isinstance(below, dict):
        if case.command == "blockdev-reopen":  # the header has been read when the node was added
            return None
        return _unread(
            where, f"of a {driver} node names a node that is there already, and the guest may have written it"
        )
    if below.get("driver") not in ("file", "host_device"):
        return _unread(
            where, f"is read by the driver {quoted(below.get('driver'))}, and its header cannot be looked at"
        )
    try:
        found = locate(str(below.get("filename")), case.places, case.scope.output)
    except Misleading:
        return None  # the field's own rule says so
    header = _inspect(where, found, driver)
    if isinstance(header, Refusal):
        return header
    if header is None:
        return None
    if header.backing is not None and "backing" not in options:
        refusal = _follow(where, found, header.backing, header.backing_format, "backing", case, 0)
        if refusal is not None:
            return refusal
    if header.data_file is not None and "data-file" not in options:
        return _follow(where, found, header.data_file, "raw", "data-file", case, 0, not read_only(one))
    return None


def _unread(where: str, problem: str) -> Refusal:
    remedy = (
        "Give the file inline (file: {driver: file, filename: ...}), so that its header is read before QEMU does; "
        "or have the host's policy name this field of the command."
    )
    return Refusal("image-header", f"{where} {problem}", remedy)


def _whole_image(leaf: Leaf, case: Case, form: str, access: str) -> Refusal | None:
    """An existing image that a command opens by one name and one format."""
    refusal = old_file(leaf, case, access, how="fdset")
    if refusal is not None or form in images.SELF_CONTAINED:
        return refusal
    found = find(leaf, case, access)
    return found if isinstance(found, Refusal) else _refers(leaf.where, found, form, case, 0)


def _refers(where: str, found: Found, form: str | None, case: Case, depth: int) -> Refusal | None:
    """Follow all that an image's header names; None if it leads nowhere that is closed.

    Without ``form``, the format that the image itself shows counts.
    """
    header = _inspect(where, found, form)
    if header is None or isinstance(header, Refusal):
        return header
    if header.data_file is not None:
        refusal = _follow(where, found, header.data_file, "raw", "data-file", case, depth)
        if refusal is not None:
            return refusal
    if header.backing is None:
        return None
    return _follow(where, found, header.backing, header.backing_format, "backing", case, depth)


def _follow(
    where: str,
    image: Found,
    name: str,
    form: str | None,
    what: str,
    case: Case,
    depth: int,
    write: bool = False,
) -> Refusal | None:
    """One name in the header of ``image``: may QEMU open it, and what does it refer to in turn?"""
    said = f"{where}: the image's header names the {what} file {quoted(name)}, which"
    remedy = f"Say '{what}: null' if you do not need it, name it yourself, or rebase the image."
    remedy = remedy if what == "backing" else "Name the file yourself with 'data-file', or convert the image."
    if depth >= _MAX_CHAIN:
        return Refusal("image-header", f"{where}: the images' headers refer to more than {_MAX_CHAIN} images", remedy)
    if form is None:
        return Refusal(
            "image-header",
            f"{said} has no format, so QEMU would guess it",
            "Store it: qemu-img rebase -u -b BACKING -F FORMAT IMAGE; or name 'backing' yourself.",
        )
    try:
        found = locate(name, case.places, os.path.dirname(image.path))
    except Misleading as problem:
        return Refusal("image-header", f"{said} {problem}", remedy)
    if found.kind != "file" and not (found.kind == "block" and not found.place.own):
        return Refusal("image-header", f"{said} is not an existing regular file", remedy)
    if write and found.place.access != "write":
        return Refusal("image-header", f"{said} lies in a root that the policy gives for reading only", remedy)
    return _refers(where, found, form, case, depth + 1)


def _inspect(where: str, found: Found, form: str | None) -> images.Header | Refusal | None:
    """The header; None where there is no file to read, which the field's own rule reports."""
    if found.kind not in ("file", "block"):
        return None
    try:
        fd = reopen(found.base, found.parts, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, Misleading) as error:
        return Refusal(
            "image-header",
            f"{where} {quoted(found.path)} cannot be read: {error}",
            "The runner must be able to read it.",
        )
    try:
        return images.inspect(fd, images.probe(fd) if form is None else form)
    except images.Unreadable as problem:
        return Refusal("image-header", f"{where} {quoted(found.path)}: {problem}", "Check the image and its format.")
    except OSError as error:
        return Refusal(
            "image-header",
            f"{where} {quoted(found.path)} cannot be read: {error}",
            "The runner must be able to read it.",
        )
    finally:
        os.close(fd)
