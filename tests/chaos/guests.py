# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest of 512 bytes that counts: each tick of its own timer writes ``TAG NNNNNNNN`` to its serial port.

Whoever pauses, resets or replaces it is found out by that counter: it would stop, or begin again.
"""

from __future__ import annotations

import re
import shutil
import struct
import threading
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import GrowingFile
from ansible_collections.maqet.qemu.tests.chaos.case import Skip, check

#: Ticks a second of the PC's timer (1193182 Hz / 65536).
HERTZ: t.Final = 1193182 / 65536
#: A guest that says nothing for longer has been held up, in seconds; a busy machine alone takes up to some 0.3.
PAUSE: t.Final = 1.0
TAG_SIZE: t.Final = 8
_LINE = re.compile(rb"(\S+) ([0-9a-f]{8})")

# 16-bit code for a PC, loaded at 0x7c00: label, machine code ('>name' is a jump's distance to a label), what it is.
_CODE: t.Final = (
    ("", "fa", "cli"),
    ("", "31 c0", "xor ax, ax"),
    ("", "8e d8", "mov ds, ax"),
    ("", "8e d0", "mov ss, ax"),
    ("", "bc 00 7c", "mov sp, 0x7c00"),
    ("", "fb", "sti"),
    ("", "66 31 db", "xor ebx, ebx          ; the counter"),
    ("", "66 8b 36 6c 04", "mov esi, [0x46c]      ; the BIOS counts timer ticks there"),
    ("wait", "f4", "hlt                   ; until the next interrupt"),
    ("", "66 a1 6c 04", "mov eax, [0x46c]"),
    ("", "66 39 f0", "cmp eax, esi"),
    ("", "74 >wait", "je wait               ; not the timer's"),
    ("", "66 89 c6", "mov esi, eax"),
    ("", "66 43", "inc ebx"),
    ("", "bf 00 7d", "mov di, 0x7d00        ; the tag, ended by a zero byte"),
    ("tag", "8a 05", "mov al, [di]"),
    ("", "47", "inc di"),
    ("", "84 c0", "test al, al"),
    ("", "74 >number", "jz number"),
    ("", "e8 >>put", "call put"),
    ("", "eb >tag", "jmp tag"),
    ("number", "66 89 da", "mov edx, ebx"),
    ("", "b9 08 00", "mov cx, 8             ; hexadecimal digits"),
    ("digit", "66 c1 c2 04", "rol edx, 4"),
    ("", "88 d0", "mov al, dl"),
    ("", "24 0f", "and al, 15"),
    ("", "3c 0a", "cmp al, 10"),
    ("", "72 >low", "jb low"),
    ("", "04 27", "add al, 'a' - '0' - 10"),
    ("low", "04 30", "add al, '0'"),
    ("", "e8 >>put", "call put"),
    ("", "e2 >digit", "loop digit"),
    ("", "b0 0a", "mov al, 10            ; end of line"),
    ("", "e8 >>put", "call put"),
    ("", "eb >wait", "jmp wait"),
    ("put", "66 52", "push edx              ; writes al to COM1"),
    ("", "50", "push ax"),
    ("", "ba fd 03", "mov dx, 0x3fd"),
    ("ready", "ec", "in al, dx             ; line status"),
    ("", "a8 20", "test al, 0x20         ; may the next byte come?"),
    ("", "74 >ready", "jz ready"),
    ("", "58", "pop ax"),
    ("", "ba f8 03", "mov dx, 0x3f8"),
    ("", "ee", "out dx, al"),
    ("", "66 5a", "pop edx"),
    ("", "c3", "ret"),
)  # fmt: skip


def boot_sector(tag: str) -> bytes:
    """The sector of a guest that puts ``tag`` before each number."""
    places, size = {}, 0
    for label, code, _words in _CODE:
        places[label] = size
        size += len(code.replace(">>put", "00 00").split())
    machine = bytearray()
    for _label, code, _words in _CODE:
        for word in code.split():
            if word.startswith(">>"):
                machine += struct.pack("<h", places[word[2:]] - len(machine) - 2)
            elif word.startswith(">"):
                machine += struct.pack("<b", places[word[1:]] - len(machine) - 1)
            else:
                machine += bytes.fromhex(word)
    text = tag.encode("ascii") + b" \0"
    if len(machine) > 0x100 or len(text) > 0xF0:
        raise ValueError(f"too long for a boot sector: {tag!r}")
    return (bytes(machine).ljust(0x100, b"\0") + text).ljust(510, b"\0") + b"\x55\xaa"


def counting(folder: Path, tag: str) -> dict[str, t.Any]:
    """Options of maqet_vm for a guest that counts. Its disk is in ``folder``."""
    if shutil.which("qemu-system-x86_64") is None:
        raise Skip("the guest that counts is a PC, and there is no qemu-system-x86_64")
    disk = folder / f"{tag}.img"
    disk.write_bytes(boot_sector(tag).ljust(1024 * 1024, b"\0"))
    disk.chmod(0o644)
    disks = [{"path": str(disk), "format": "raw", "readonly": True}]
    return {"arch": "x86_64", "accel": "tcg", "memory": "32", "disks": disks}


def numbers(text: bytes, tag: str) -> list[int]:
    """The guest's counter as its serial log has it; Broken if there is anything else in the log. The last line may be cut."""
    lines = text.replace(b"\r", b"").split(b"\n")[:-1]
    found = []
    for line in lines:
        match = _LINE.fullmatch(line)
        check(match is not None and match[1] == tag.encode(), f"the serial log of {tag} holds {line!r}")
        assert match is not None
        found.append(int(match[2], 16))
    return found


def unbroken(text: bytes, tag: str) -> int:
    """The last number of a counter that began at 1 and left nothing out; Broken otherwise."""
    found = numbers(text, tag)
    for before, after in zip([0, *found], found):
        check(after == before + 1, f"the counter of {tag} went from {before} to {after}")
    return found[-1] if found else 0


class Watcher:
    """Watches a guest count, in a thread of its own; ``longest`` is the longest silence so far, in seconds."""

    def __init__(self, path: str, tag: str) -> None:
        self._file = GrowingFile(path)
        self._tag = tag
        self._text = b""
        self._grown = threading.Condition()
        self._end = threading.Event()
        self._problem: str | None = None
        self.longest = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._end.set()
        self._thread.join()
        self._file.close()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._end.is_set():
            wait_readable([self._file.fd], PAUSE)
            new, now = self._file.read(), time.monotonic()
            self.longest = max(self.longest, now - last)
            if new:
                last = now
                with self._grown:
                    self._text += new
                    self._grown.notify_all()

    def counted(self, more: int = 1, seconds: float = 30.0) -> int:
        """Wait until the guest has counted so many times more; where it stands. Broken if it does not."""
        with self._grown:
            wanted = self._text.count(b"\n") + more
            came = self._grown.wait_for(lambda: self._text.count(b"\n") >= wanted, seconds)
            text = self._text
        check(came, f"the guest {self._tag} has not counted {more} times in {seconds:g} s")
        return unbroken(text, self._tag)

    def check(self) -> int:
        """Broken if the counter was interrupted: a gap, a new beginning or a silence; its last number."""
        with self._grown:
            text = self._text
        last = unbroken(text, self._tag)
        check(self.longest < PAUSE, f"the guest {self._tag} said nothing for {self.longest:.2f} s")
        return last
