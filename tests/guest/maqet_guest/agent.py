# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU guest agent with its loader and just the libraries that it needs, from the distribution's packages."""

from __future__ import annotations

import struct
import typing as t
from pathlib import Path

from . import cpio
from .errors import GuestError
from .packages import Say, Source

FOLDER = "lib/agent"
_PROGRAMS = ("usr/sbin/qemu-ga", "usr/bin/qemu-ga")
# Program header types and dynamic tags of elf(5).
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def linked(data: bytes) -> t.Tuple[t.Optional[str], t.List[str]]:
    """(path of the loader or None, names of the libraries) that a 64-bit little-endian ELF file asks for.

    Raises GuestError for a file that is none.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise GuestError("the agent or one of its libraries is no 64-bit program of this kind of machine")
    table = struct.unpack_from("<Q", data, 32)[0]
    size, count = struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, table + number * size) for number in range(count)]
    loader = next((_text(data, offset) for kind, _f, offset, *_rest in headers if kind == _PT_INTERP), None)
    entries: t.List[t.Tuple[int, int]] = []
    for kind, _flags, offset, _virtual, _physical, length in headers:
        if kind == _PT_DYNAMIC:
            entries = list(struct.iter_unpack("<QQ", data[offset : offset + length]))
    ends = [number for number, (tag, _value) in enumerate(entries) if tag == _DT_NULL]
    entries = entries[: ends[0]] if ends else entries
    address = next((value for tag, value in entries if tag == _DT_STRTAB), None)
    for kind, _flags, offset, virtual, _physical, length in headers:
        if kind == _PT_LOAD and address is not None and virtual <= address < virtual + length:
            strings = offset + address - virtual
            return loader, [_text(data, strings + value) for tag, value in entries if tag == _DT_NEEDED]
    return loader, []


def members(folder: Path) -> t.List[cpio.Entry]:
    """The agent in unpacked packages, as members of the archive, all in one folder with the loader as ``ld.so``.

    Raises GuestError if the agent or a library is missing.
    """
    programs = [folder / name for name in _PROGRAMS if (folder / name).is_file()]
    if not programs:
        raise GuestError("the agent's package has no qemu-ga")
    libraries = {path.name: path for path in sorted(folder.rglob("*.so*")) if path.is_file()}
    found: t.Dict[str, bytes] = {"qemu-ga": programs[0].read_bytes()}
    loader, waiting = linked(found["qemu-ga"])
    if loader is None:
        raise GuestError("the agent asks for no loader: has it become static?")
    own = Path(loader).name
    waiting = [own, *waiting]
    while waiting:
        name = waiting.pop()
        if name not in libraries:
            raise GuestError(f"the agent needs {name}, and none of the unpacked packages has it")
        if name not in found:
            found[name] = libraries[name].read_bytes()
            waiting += linked(found[name])[1]
    entries = [cpio.directory(FOLDER)]
    entries += [cpio.regular(f"{FOLDER}/{name}", data, 0o755) for name, data in sorted(found.items())]
    return [*entries, cpio.symlink(f"{FOLDER}/ld.so", own)]


def fetch(source: Source, work: Path, say: Say) -> t.List[cpio.Entry]:
    """The same from the packages, unpacked under ``work``."""
    folder = work / "agent"
    folder.mkdir()
    source.unpack(source.agent(), folder, say)
    return members(folder)
