# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives in cpio's "newc" form, the only one that the kernel unpacks; pure functions on bytes.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux. A header is the magic ``070701`` and
thirteen numbers of eight hexadecimal digits; name and data are padded to four bytes; ``TRAILER!!!`` ends it.
"""

from __future__ import annotations

import stat
import typing as t

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
_HEADER_SIZE = 110


class Entry(t.NamedTuple):
    """One member. ``mode`` includes the type bits; ``data`` is a file's content or a symlink's target."""

    name: str
    mode: int
    data: bytes = b""
    device: t.Tuple[int, int] = (0, 0)


def directory(name: str, mode: int = 0o755) -> Entry:
    """A folder; ``mode`` holds the permission bits."""
    return Entry(name, stat.S_IFDIR | mode)


def regular(name: str, data: bytes, mode: int = 0o644) -> Entry:
    """A file; ``mode`` holds the permission bits."""
    return Entry(name, stat.S_IFREG | mode, data)


def symlink(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    """A device node: as an archive member it needs no privilege to make."""
    return Entry(name, stat.S_IFCHR | mode, b"", (major, minor))


def _pad(length: int) -> bytes:
    return b"\0" * (-length % 4)


def _member(inode: int, entry: Entry) -> bytes:
    """Header, name and data. Owner is root and the time 0, so that equal input gives equal bytes."""
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    head = MAGIC + b"".join(b"%08X" % field for field in fields) + name
    return head + _pad(len(head)) + entry.data + _pad(len(entry.data))


def write_newc(entries: t.Iterable[Entry]) -> bytes:
    """The archive, members in the order given (the kernel wants a folder before what is in it).

    Raises ValueError for an absolute or a repeated name, and for data that the format cannot hold (4 GiB).
    """
    parts: t.List[bytes] = []
    seen: t.Set[str] = set()
    for number, entry in enumerate(entries, start=1):
        if not entry.name or entry.name.startswith("/") or entry.name in seen or entry.name == TRAILER:
            raise ValueError(f"not a name for a member: {entry.name!r}")
        if len(entry.data) > 0xFFFFFFFF:
            raise ValueError(f"{entry.name} is too large for newc")
        seen.add(entry.name)
        parts.append(_member(number, entry))
    parts.append(_member(0, Entry(TRAILER, 0)))
    return b"".join(parts)


def read_newc(archive: bytes) -> t.Iterator[Entry]:
    """The members of ``archive``, without the trailer. Names lose a leading ``./`` or ``/`` (rpm2cpio writes ``./``).

    Raises ValueError if the archive is of another form, or cut short.
    """
    view = memoryview(archive)
    at = 0
    while True:
        header = bytes(view[at : at + _HEADER_SIZE])
        if len(header) < _HEADER_SIZE or header[:6] not in (MAGIC, b"070702"):
            raise ValueError(f"no newc header at byte {at}")
        fields = [int(header[start : start + 8], 16) for start in range(6, _HEADER_SIZE, 8)]
        mode, size, device, name_size = fields[1], fields[6], (fields[9], fields[10]), fields[11]
        name_end = at + _HEADER_SIZE + name_size
        start = name_end + (-(_HEADER_SIZE + name_size) % 4)
        end = start + size
        if end > len(archive):
            raise ValueError(f"cut short: a member at byte {at} ends at {end} of {len(archive)}")
        name = bytes(view[at + _HEADER_SIZE : name_end - 1]).decode()
        if name == TRAILER:
            return
        yield Entry(name[2:] if name.startswith("./") else name.lstrip("/"), mode, bytes(view[start:end]), device)
        at = end + (-size % 4)
