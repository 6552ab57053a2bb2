# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a guest, read and written through its agent a piece at a time, and closed whatever happens."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.vm.guest_talk import Answer, Talk

# Of one command, in bytes. An agent takes 48 MiB and more; small pieces leave room for others.
CHUNK = 1024 * 1024
# The most that a task moves, in bytes: it is in memory as a whole, and the agent is no way for more.
LARGEST = 256 * 1024 * 1024
_MODE = re.compile(r"0?[0-7]{3,4}")
_CLOSING = 10.0


def checked_put(wanted: t.Mapping[str, t.Any]) -> None:
    """``invalid_option`` for what cannot be, before anybody is asked."""
    _named("put.dest", wanted["dest"])
    # A number is what YAML made of the digits: 0644 has become 420 here.
    if wanted["mode"] is not None and not (isinstance(wanted["mode"], str) and _MODE.fullmatch(wanted["mode"])):
        raise invalid_option(
            "put.mode", wanted["mode"], "is no mode", "Give an octal number in quotes, such as '0644'."
        )
    if wanted["src"] is None:
        return
    try:
        size = os.stat(wanted["src"]).st_size
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise invalid_option("put.src", wanted["src"], problem, "Give a file on the managed host.") from None
    if size > LARGEST:
        raise invalid_option(
            "put.src",
            wanted["src"],
            f"has {size} bytes, and the agent is given {LARGEST} at most",
            "Give the guest a disk or an address from which it gets the file.",
        )


def checked_get(wanted: t.Mapping[str, t.Any]) -> None:
    """The same for a file that is fetched."""
    _named("get.path", wanted["path"])
    if wanted["dest"] is not None and not os.path.isdir(os.path.dirname(wanted["dest"]) or "/"):
        raise invalid_option(
            "get.dest", wanted["dest"], "is in no folder", "Make its folder on the managed host first."
        )


def put(talk: Talk, wanted: t.Mapping[str, t.Any]) -> Answer:
    """Have a file in the guest with this content, and mode if one is given."""
    data, dest = _content(wanted), wanted["dest"]
    result = {"dest": dest, "size": len(data), "checksum": _checksum(data)}
    same = _holds(talk, dest, data)
    mode = None if wanted["mode"] is None else int(wanted["mode"], 8)
    if same and (mode is None or _mode_of(talk, dest) == mode):
        return {"changed": False, **result}
    if talk.check:
        talk.judge([] if same else _writing(dest))
        if mode is not None:
            talk.judge([{"execute": "guest-exec", "arguments": {"path": "chmod", "arg": []}}])
        return {"changed": True, **result}
    if same:
        _set_mode(talk, dest, t.cast(int, mode))
    else:
        _write(talk, dest, data, mode)
    return {"changed": True, **result}


def get(talk: Talk, wanted: t.Mapping[str, t.Any], limit: int) -> Answer:
    """A file of the guest: its content, or a file on this host that has it."""
    path, dest = wanted["path"], wanted["dest"]
    pieces: list[bytes] = []

    def keep(piece: bytes) -> bool:
        pieces.append(piece)
        return True

    _read(talk, path, limit, keep)
    data = b"".join(pieces)
    result: Answer = {"path": path, "size": len(data), "checksum": _checksum(data)}
    if dest is None:
        return {"changed": False, **result, "content": base64.b64encode(data).decode(), "encoding": "base64"}
    changed = _on_host(dest) != data
    if changed and not talk.check:
        files.write_atomic(dest, data, 0o600)
    return {"changed": changed, **result, "dest": dest}


def needed(form: str, wanted: t.Mapping[str, t.Any]) -> list[Answer]:
    """One of each command that it may take, for the verdicts."""
    if form == "get":
        return _reading(wanted["path"])
    chmod = {"execute": "guest-exec", "arguments": {"path": "chmod", "arg": []}}
    status = {"execute": "guest-exec-status", "arguments": {"pid": 1}}
    return [*_reading(wanted["dest"]), *_writing(wanted["dest"])[1:2], *([chmod, status] if wanted["mode"] else [])]


def _reading(path: str) -> list[Answer]:
    return [
        {"execute": "guest-file-open", "arguments": {"path": path, "mode": "r"}},
        {"execute": "guest-file-read", "arguments": {"handle": 0, "count": CHUNK}},
        {"execute": "guest-file-close", "arguments": {"handle": 0}},
    ]


def _writing(path: str) -> list[Answer]:
    return [
        {"execute": "guest-file-open", "arguments": {"path": path, "mode": "w"}},
        {"execute": "guest-file-write", "arguments": {"handle": 0, "buf-b64": ""}},
        {"execute": "guest-file-close", "arguments": {"handle": 0}},
    ]


def _content(wanted: t.Mapping[str, t.Any]) -> bytes:
    if wanted["src"] is None:
        return bytes(wanted["content"].encode("utf-8", "surrogateescape"))
    with open(wanted["src"], "rb") as file:
        return file.read(LARGEST)


def _named(option: str, path: str) -> None:
    """The guest may be Windows, so any absolute path of either kind."""
    if not re.match(r"/|[A-Za-z]:[\\/]|\\\\", path) or "\0" in path:
        raise invalid_option(option, path, "is not an absolute path", "Give an absolute path in the guest.")


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _on_host(path: str) -> t.Optional[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _opened(talk: Talk, path: str, mode: str) -> t.Iterator[int]:
    """A handle of the guest's, which has few: it is closed also after an error, which is the one that is raised."""
    handle = talk.ask("guest-file-open", changes=mode == "w", path=path, mode=mode)
    if not isinstance(handle, int) or isinstance(handle, bool):
        raise talk.failed(_strange("guest-file-open", "a handle"))
    try:
        yield handle
    except BaseException:
        with contextlib.suppress(MaqetError):
            talk.request(_closing(handle), False, timeout=_CLOSING)
        raise
    talk.request(_closing(handle), mode == "w")


def _closing(handle: int) -> list[Answer]:
    return [{"execute": "guest-file-close", "arguments": {"handle": handle}}]


def _read(talk: Talk, path: str, limit: int, takes: t.Callable[[bytes], bool]) -> None:
    """Give ``takes`` the content of a file piece by piece, until it does not want more.

    ``guest_reply_too_large`` for a file of more than ``limit`` bytes.
    """
    with _opened(talk, path, "r") as handle:
        had = 0
        while True:
            answer = talk.ask("guest-file-read", handle=handle, count=min(CHUNK, limit - had + 1))
            data = _decoded(talk, answer)
            had += len(data)
            if had > limit:
                raise talk.failed(
                    MaqetError(
                        f"{path} in the guest has more than {limit} bytes. Raise 'limit', at most {LARGEST}, or have "
                        "the guest send it some other way.",
                        "guest_reply_too_large",
                    )
                )
            if not data or not takes(data) or answer.get("eof") is True:
                return


def _decoded(talk: Talk, answer: t.Any) -> bytes:
    try:
        return base64.b64decode(answer["buf-b64"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error):
        raise talk.failed(_strange("guest-file-read", "a piece of the file")) from None


def _holds(talk: Talk, path: str, data: bytes) -> bool:
    """Whether the guest has the very file; one that it cannot open for reading it has not."""
    at = 0

    def agrees(piece: bytes) -> bool:
        nonlocal at
        same = data[at : at + len(piece)] == piece
        at = at + len(piece) if same else -1
        return same

    try:
        _read(talk, path, len(data), agrees)
    except MaqetError as error:
        if error.error_code == "guest_reply_too_large":
            return False
        if error.error_code == "guest_error" and error.details.get("command") == "guest-file-open":
            return False
        raise
    return at == len(data)


def _write(talk: Talk, path: str, data: bytes, mode: t.Optional[int]) -> None:
    """In place: the agent cannot rename. The mode is set while the file is still empty."""
    try:
        with _opened(talk, path, "w") as handle:
            if mode is not None:
                _set_mode(talk, path, mode)
            at = 0
            while at < len(data):
                piece = base64.b64encode(data[at : at + CHUNK]).decode()
                answer = talk.ask("guest-file-write", changes=True, handle=handle, **{"buf-b64": piece})
                count = answer.get("count") if isinstance(answer, dict) else None
                if not isinstance(count, int) or not 0 < count <= CHUNK:
                    raise talk.failed(_strange("guest-file-write", "how much it has written"))
                at += count
    except MaqetError as error:
        error.details["incomplete"] = talk.changed
        raise


def _set_mode(talk: Talk, path: str, mode: int) -> None:
    status = talk.run(["chmod", f"{mode:04o}", path], changes=True)
    if status.get("exitcode") != 0:
        raise talk.failed(MaqetError(f"chmod in the guest failed for {path}.", "guest_exit"))


def _mode_of(talk: Talk, path: str) -> t.Optional[int]:
    status = talk.run(["stat", "-c", "%a", path])
    try:
        return int(base64.b64decode(status.get("out-data", ""), validate=True), 8)
    except (TypeError, ValueError, binascii.Error):
        return None


def _strange(command: str, what: str) -> MaqetError:
    return MaqetError(f"The guest's agent answered {command} without {what}.", "guest_unreachable")
