# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit records: what one line of the log says. Field names follow auditd's and libvirt's.

Builders return a record without ``seq``, ``prev`` and ``hash``: these belong to the log, which
alone knows what came before. Every text is redacted, capped and valid UTF-8 when it leaves here.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller, asserted
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import OWN
from ansible_collections.maqet.qemu.plugins.module_utils.guard.moment import stamp, ulid, writer
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import is_name, shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import redact_error, scrub, swept
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact_words import redact_words
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict

VERSION = 1

#: Bytes of redacted arguments that a record repeats; beyond it their length and digest remain.
MAX_ARGS = 32768

#: Paths of redacted fields that a record lists.
MAX_PATHS = 64


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
    #: The policy that decided: "builtin" or its file, and the digest of that file's content.
    policy_id: str = "builtin"
    policy_sha256: str | None = None
    #: Key of this host for marking what was removed; None: no marks (see ``redact.py``).
    key: bytes | None = None


def intent(
    request: Request, verdict: Verdict, context: Context, files: t.Sequence[dict[str, t.Any]] = ()
) -> dict[str, t.Any]:
    """The record that must be on disk before the command is sent.

    ``files``: what the guard opened for QEMU, as ``{arg, path, as}``.
    """
    return _record("intent", request, verdict, context, files)


def denial(request: Request, verdict: Verdict, context: Context) -> dict[str, t.Any]:
    """The one record of a command that is not sent."""
    return {**_record("deny", request, verdict, context), "res": "failed"}


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
    after = {key: value for key, value in before.items() if key not in OWN}
    after.update(stamp(), phase="result", res=res)
    if error_class is not None:
        after["error_class"] = _text(error_class, 128)
    if error is not None:
        after["error"] = redact_error(error, hidden)
    if duration_ms is not None:
        after["duration_ms"] = round(duration_ms, 3)
    return after


def orphan(before: dict[str, t.Any]) -> dict[str, t.Any]:
    """What is left to say of the command whose intent is ``before``, when its writer has ended without a result."""
    after = {key: value for key, value in before.items() if key not in OWN}
    after.update(stamp(), phase="orphan", res="unknown", writer=writer())
    after["intent"] = {"seq": before["seq"], "writer": before.get("writer"), "boot_id": before.get("boot_id")}
    after["error"] = "its writer ended before it could record the outcome: whether the command has run is not known"
    return after


def started(identity: VmIdentity, unfinished: list[str], words: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """The mark of a runner that takes over; ``unfinished``: op_ids of intents whose writers are alive.

    ``words``: what the VM's user has QEMU started with beside what the collection renders. No guard judges it, and it
    can be anything that QEMU can do, so the mark is a warning then.
    """
    args, digest = _arguments({"extra_args": redact_words(words)})
    extra = {"class": "host-exec", "level": "warning", "args": args, "args_sha256": digest} if words else {}
    return {
        "v": VERSION, **stamp(), "phase": "start", "virt": "qemu", **_vm(identity), "open": unfinished,
        "writer": writer(), **extra,
    }  # fmt: skip


def _vm(vm: VmIdentity) -> dict[str, t.Any]:
    return {
        "vm": _text(vm.name),
        "uuid": _text(vm.uuid),
        "vm_pid": vm.pid,
        "vm_start": vm.start,
        "qemu": _text(vm.qemu),
        "sock": _text(vm.socket),
    }


def _record(
    phase: str, request: Request, verdict: Verdict, context: Context, files: t.Sequence[dict[str, t.Any]] = ()
) -> dict[str, t.Any]:
    who = context.caller
    clean, paths, hidden = swept(request.command, request.arguments, context.key)
    args, digest = _arguments(clean)
    denied = {"error": redact_error(verdict.reason, hidden)} if phase == "deny" else {}
    return {
        "v": VERSION,
        **stamp(),
        "phase": phase,
        "virt": "qga" if request.channel == "guest" else "qemu",
        **_vm(context.identity),
        "op": request.command if is_name(request.command) else shown(request.command),
        "op_id": ulid(),
        "class": verdict.command_class,
        "also": list(verdict.also),
        "level": verdict.level,
        "args": args,
        "args_sha256": digest,
        "redacted": [str(_text(path, 256)) for path in paths[:MAX_PATHS]],
        "via": context.via,
        "reason": redact_error(str(context.reason or ""), hidden),
        "policy": _policy(verdict, context),
        "decision": verdict.decision,
        "mode": verdict.mode,
        "role": verdict.role,
        "files": [
            {str(key): scrub(str(_text(str(value)))) for key, value in each.items()} for each in files[:MAX_PATHS]
        ],
        "writer": writer(),
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
        **denied,
    }


def _policy(verdict: Verdict, context: Context) -> dict[str, t.Any]:
    """Which policy decided, by which of its layers and rules; what it does not name is denied."""
    return {
        "id": _text(context.policy_id),
        "sha256": context.policy_sha256,
        "layer": verdict.layer,
        "rule": verdict.rule,
        "default": "deny",
    }


def _arguments(clean: t.Any) -> tuple[t.Any, str | None]:
    """Redacted arguments as a record repeats them, and the digest of their canonical form."""
    try:
        form = canonical(clean)
    except ValueError as error:
        # Only of denied commands: arguments without a JSON form are never sent.
        return {"unwritable": str(error)}, None
    if len(form) > MAX_ARGS:
        clean = {"truncated": True, "len": len(form)}
    return clean, hashlib.sha256(form).hexdigest()


def _text(value: str | None, limit: int = 4096) -> str | None:
    """A text from outside as valid UTF-8 (names of files need not be) of at most ``limit`` characters."""
    return None if value is None else str(value)[:limit].encode("utf-8", "backslashreplace").decode("utf-8")
