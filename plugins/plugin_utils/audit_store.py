# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with the records of a fleet, and the witness beside it: where each chain was seen to end.

Both are changed under one lock, that of the file itself, so that runs side by side take turns. The witness says up
to which byte of the file it speaks: what was appended behind that, by a run that was killed or that goes on beside
this one, is read from the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import parse
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import make_folder, write_atomic
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chain import Chain, Key
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chains import Chains
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_take import is_record

Line = t.Dict[str, t.Any]

VERSION: t.Final = 1
_FLAGS: t.Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def witness_of(path: str) -> str:
    """The witness file of the records in ``path``: ``audit.jsonl`` has ``audit.witness.json`` beside it."""
    return f"{os.path.splitext(path)[0]}.witness.json"


def lines_of(path: str, size: int | None = None) -> t.Iterator[Line]:
    """What stands in a file of records, or in its first ``size`` bytes; lines that are none of ours are passed over.

    OSError if it cannot be read.
    """
    with open(path, "rb") as file:
        for text in file:
            if size is not None:
                size -= len(text)
                if size < 0:
                    return
            line = _line(text)
            if line is not None:
                yield line


def _line(text: bytes) -> Line | None:
    line = parse(text)
    return line if line is not None and is_record(line.get("record")) and isinstance(line.get("host"), str) else None


def fold(chains: Chains, line: Line) -> None:
    """Add what an earlier line says; its problems were told when it was written."""
    log = line.get("log")
    chains.take(line["host"], line["record"], log if isinstance(log, str) else None)


class Store:
    """Appends to the file at ``path``. Raises OSError when that cannot be done."""

    def __init__(self, path: str) -> None:
        self.path = path
        #: What is known of the chains; new when the file had to be read anew.
        self.chains = Chains(self._recall)
        #: Something that its user should know: the witness could not be read.
        self.notice: str | None = None
        self._file: tuple[int, int] | None = None
        self._read = 0

    @contextlib.contextmanager
    def held(self) -> t.Iterator[Held]:
        """The file while nobody else writes to it, with all that others have written before."""
        fd = self._locked()
        try:
            self._catch_up(fd)
            yield Held(self, fd)
        finally:
            os.close(fd)

    def _locked(self) -> int:
        make_folder(os.path.dirname(self.path) or ".")
        while True:
            fd = os.open(self.path, _FLAGS, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):  # logrotate, in between
                    if os.path.samestat(os.fstat(fd), os.stat(self.path, follow_symlinks=False)):
                        return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _catch_up(self, fd: int) -> None:
        found = os.fstat(fd)
        if self._file != (found.st_dev, found.st_ino) or found.st_size < self._read:
            self._begin(found.st_size)
            self._file = (found.st_dev, found.st_ino)
        with open(os.dup(fd), "rb") as file:
            file.seek(self._read)
            for text in file:
                line = _line(text)
                if line is not None:
                    fold(self.chains, line)
                self._read += len(text)

    def _begin(self, size: int) -> None:
        """Start from the witness. Without one the file itself tells all that there is to know."""
        self.chains, self._read = Chains(self._recall), 0
        try:
            with open(witness_of(self.path), encoding="utf-8") as file:
                told = json.load(file)
            chains = {_key(one): Chain.from_dict(one) for one in told["chains"]}
            read = int(told["size"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, RecursionError):
            self.notice = f"{witness_of(self.path)} is not a witness file any more; it is made anew from {self.path}"
            return
        self.chains.chains.update(chains)
        self._read = read if read <= size else 0

    def _recall(self, key: Key) -> t.Mapping[int, str]:
        """The hashes of the records of one chain, by number, that the file has, up to where we have read it."""
        past = Chains()
        with contextlib.suppress(OSError):
            for line in lines_of(self.path, self._read):
                if (
                    line["host"] == key[0]
                    and line.get("log") == key[2]
                    and line["record"].get("vm") == (key[1] or None)
                ):
                    fold(past, line)
        return past.hashes.get(key, {})

    def witness(self) -> list[dict[str, t.Any]]:
        """What the witness file says of each chain."""
        return [
            {"host": host, "vm": vm, "log": log, **chain.as_dict()}
            for (host, vm, log), chain in sorted(self.chains.chains.items())
        ]

    def keep(self, durable: bool) -> None:
        """Write the witness. With ``durable`` it outlives a power cut."""
        chains = ",\n".join(map(json.dumps, self.witness()))  # a line each
        told = f'{{"v": {VERSION}, "size": {self._read}, "chains": [\n{chains}\n]}}\n'
        write_atomic(witness_of(self.path), told.encode(), durable=durable)

    def wrote(self, size: int) -> None:
        """So many more bytes of the file are our own."""
        self._read += size


class Held:
    """A :class:`Store` whose file is locked."""

    def __init__(self, store: Store, fd: int) -> None:
        self._store, self._fd = store, fd

    def append(self, lines: t.Sequence[Line]) -> None:
        """Write whole lines or nothing, and then the witness."""
        before = os.fstat(self._fd).st_size
        torn = before > 0 and os.pread(self._fd, 1, before - 1) != b"\n"  # a power cut, in an earlier run
        data = b"".join(
            json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n" for line in lines
        )
        data = (b"\n" if torn else b"") + data
        try:
            done = 0
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, before)
            raise
        self._store.wrote(len(data))
        self._store.keep(durable=False)

    def close(self) -> None:
        """The end of a run: what was written is to outlive a power cut."""
        os.fsync(self._fd)
        self._store.keep(durable=True)


def _key(told: t.Mapping[str, t.Any]) -> Key:
    return str(told["host"]), str(told["vm"]), str(told["log"])
