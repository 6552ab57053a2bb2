# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit records: what one line of the log says. Field names follow auditd's and libvirt's.

Builders return a record without ``seq``, ``prev`` and ``hash``: these belong to the log, which
alone knows what came before. Every text is redacted, capped and valid UTF-8 when it leaves here.
"""

from __future__ import annotations

import hashlib
import os
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller, asserted
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import Request, Verdict
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import is_name, shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import redact, redact_error, secrets

VERSION = 1

#: Bytes of redacted arguments that a record repeats; beyond it their length and digest remain.
MAX_ARGS = 32768

#: Paths of redacted fields that a record lists.
MAX_PATHS = 64

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BOOT: list[str] = []


@dataclass(frozen=True)
class VmIdentity:
    """Which QEMU: the fields that tell it from its namesakes and from a later process."""

    name: str | None = None
    uuid: str | None = None
    pid: int | None = None
    #: Start time of the process, in clock ticks since boot (field 22 of /proc/PID/stat).
    start: int | None = None
    #: Version, such as 7.2.22.
    qemu: str | None = None
    #: Path of the QMP socket.
    socket: str | None = None


@dataclass(frozen=True)
class Context:
    """What is the same for the records of one command, beside the request itself."""

    identity: VmIdentity
    caller: Caller
    via: str  # "ipc" or "direct"
    reason: str = ""
    check: bool = False


def ulid() -> str:
    """An identifier that sorts by time: 48 bits of milliseconds, 80 of chance, 26 characters."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def stamp() -> dict[str, t.Any]:
    """Wall clock (UTC, microseconds), boot, and nanoseconds of the monotonic clock."""
    now = time.time_ns()
    if not _BOOT:
        _BOOT.append(_boot_id())
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
    micro = now // 1000 % 1_000_000
    return {"time": f"{clock}.{micro:06d}Z", "boot_id": _BOOT[0], "mono_ns": time.monotonic_ns()}


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def intent(request: Request, verdict: Verdict, context: Context) -> dict[str, t.Any]:
    """The record that must be on disk before the command is sent."""
    return _record("intent", request, verdict, context)


def denial(request: Request, verdict: Verdict, context: Context) -> dict[str, t.Any]:
    """The one record of a command that is not sent."""
    text = redact_error(verdict.reason, secrets(request.command, request.arguments))
    return {**_record("deny", request, verdict, context), "res": "failed", "error": text}


def result(
    before: dict[str, t.Any],
    res: str,
    error_class: str | None = None,
    error: str | None = None,
    duration_ms: float | None = None,
    hidden: t.Iterable[str] = (),
) -> dict[str, t.Any]:
    """The outcome of the command whose intent is ``before``.

    ``res`` is "success" or "failed"; ``error`` is QEMU's text, from which the texts in ``hidden``
    are removed; ``duration_ms`` is in milliseconds.
    """
    after = {key: value for key, value in before.items() if key not in ("seq", "prev", "hash", "torn")}
    after.update(stamp(), phase="result", res=res)
    if error_class is not None:
        after["error_class"] = _text(error_class, 128)
    if error is not None:
        after["error"] = redact_error(error, hidden)
    if duration_ms is not None:
        after["duration_ms"] = round(duration_ms, 3)
    return after


def _record(phase: str, request: Request, verdict: Verdict, context: Context) -> dict[str, t.Any]:
    vm, who = context.identity, context.caller
    args, digest, paths = _arguments(request)
    hidden = secrets(request.command, request.arguments)
    return {
        "v": VERSION,
        **stamp(),
        "phase": phase,
        "virt": "qga" if request.channel == "guest" else "qemu",
        "vm": _text(vm.name),
        "uuid": _text(vm.uuid),
        "vm_pid": vm.pid,
        "vm_start": vm.start,
        "qemu": _text(vm.qemu),
        "sock": _text(vm.socket),
        "op": request.command if is_name(request.command) else shown(request.command),
        "op_id": ulid(),
        "class": verdict.command_class,
        "level": verdict.level,
        "args": args,
        "args_sha256": digest,
        "redacted": paths,
        "via": context.via,
        "reason": redact_error(str(context.reason or ""), hidden),
        "policy": {"id": "builtin", "rule": verdict.rule, "default": "deny"},
        "decision": verdict.decision,
        "mode": "enforce",
        "check": context.check,
        "consent": request.allow_dangerous is True,
        "auid": who.auid,
        "ses": who.ses,
        "uid": who.uid,
        "gid": who.gid,
        "pid": who.pid,
        "exe": _text(who.exe),
        "comm": _text(who.comm),
        "peer": who.peer,
        "controller": {
            _text(key): redact_error(value, hidden) if isinstance(value, str) else value
            for key, value in asserted(who.controller).items()
        },
    }


def _arguments(request: Request) -> tuple[t.Any, str | None, list[str]]:
    """Redacted arguments, the digest of their canonical form, and what was removed from them."""
    clean, paths = redact(request.command, request.arguments)
    paths = [str(_text(path, 256)) for path in paths[:MAX_PATHS]]
    try:
        form = canonical(clean)
    except ValueError as error:
        # Only of denied commands: arguments without a JSON form are never sent.
        return {"unwritable": str(error)}, None, paths
    if len(form) > MAX_ARGS:
        clean = {"truncated": True, "len": len(form)}
    return clean, hashlib.sha256(form).hexdigest(), paths


def _text(value: str | None, limit: int = 4096) -> str | None:
    """A text from outside as valid UTF-8 (names of files need not be) of at most ``limit`` characters."""
    return None if value is None else str(value)[:limit].encode("utf-8", "backslashreplace").decode("utf-8")
