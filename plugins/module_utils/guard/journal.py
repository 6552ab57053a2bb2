# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit records for the journal of systemd, where there is one: with fields of their own, and without arguments.

The journal is a second witness, not the record: what cannot be sent at once is dropped and counted.
Source: systemd's "Native Journal Protocol" and systemd.journal-fields(7).
"""

from __future__ import annotations

import os
import typing as t

SOCKET = "/run/systemd/journal/socket"

#: Tells our messages from all others: ``journalctl MESSAGE_ID=...``.
MESSAGE_ID: t.Final = "9ca3d64009934a33a0cfd18084781f40"

#: Fields of the journal, and where a record has them. Its own (``_UID``, ``_PID``) are the writer's.
_FIELDS: t.Final = (
    ("QMP_OP", "op"),
    ("QMP_OP_ID", "op_id"),
    ("QMP_CLASS", "class"),
    ("QMP_RES", "res"),
    ("QMP_REASON", "reason"),
    ("QMP_SEQ", "seq"),
    ("QMP_HASH", "hash"),
    ("QMP_VM", "vm"),
    ("QMP_UUID", "uuid"),
    ("QMP_DECISION", "decision"),
    ("QMP_PHASE", "phase"),
    ("QMP_VIA", "via"),
    ("QMP_MODE", "mode"),
    ("QMP_ROLE", "role"),
    ("QMP_ERROR_CLASS", "error_class"),
    ("QMP_UID", "uid"),
    ("QMP_AUID", "auid"),
    ("QMP_SES", "ses"),
    ("QMP_PID", "pid"),
)

_WARNING, _INFO = 4, 6  # syslog(3)


class _Count:
    """What this process sent to the journal, and what it could not."""

    sent = 0
    lost = 0


count = _Count()
_sender: list[t.Any] = []


def send(record: t.Mapping[str, t.Any]) -> None:
    """Tell the journal of a record that has been written. Never waits and never raises."""
    if not os.path.exists(SOCKET):
        return
    try:
        _socket().sendto(message(record), SOCKET)
        count.sent += 1
    except (OSError, ValueError):  # it is full, or it was restarted this very moment, or the message is too long
        count.lost += 1


def message(record: t.Mapping[str, t.Any]) -> bytes:
    """The datagram for one record."""
    fields: dict[str, t.Any] = {
        "MESSAGE": text(record),
        "MESSAGE_ID": MESSAGE_ID,
        "PRIORITY": _priority(record),
        "SYSLOG_IDENTIFIER": "maqet",
    }
    fields.update((name, record.get(key)) for name, key in _FIELDS)
    fields["QMP_RULE"] = (record.get("policy") or {}).get("rule")
    return b"".join(_field(name, value) for name, value in fields.items() if value is not None)


def text(record: t.Mapping[str, t.Any]) -> str:
    """A record in one line for people: no arguments, no texts of the caller's."""
    phase, rule = record.get("phase"), (record.get("policy") or {}).get("rule")
    who = f"{record.get('op')} on {record.get('vm') or 'a QEMU without a name'}"
    if phase == "start":
        more = ", whose QEMU has arguments of its user's own (extra_args)" if record.get("level") == "warning" else ""
        return f"a runner takes over {record.get('vm')}{more}"
    if phase == "intent":
        return f"{who}: allowed to uid {record.get('uid')} (class {record.get('class')}, rule {rule})"
    if phase == "deny":
        return f"{who}: denied to uid {record.get('uid')} (class {record.get('class')}, rule {rule})"
    if phase == "orphan":
        return f"{who}: its outcome is unknown, for its writer ended before it"
    failed = f" ({record.get('error_class')})" if record.get("error_class") else ""
    return f"{who}: {record.get('res')}{failed}"


def _priority(record: t.Mapping[str, t.Any]) -> int:
    grave = record.get("phase") in ("deny", "orphan") or record.get("level") == "warning"
    return _WARNING if grave or record.get("decision") == "deny" else _INFO


def _field(name: str, value: t.Any) -> bytes:
    """``NAME=value``, or, for a value with a newline, name, length (64 bits, little-endian) and bytes."""
    data = str(value).encode("utf-8", "backslashreplace")
    if b"\n" in data:
        return name.encode("ascii") + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode("ascii") + b"=" + data + b"\n"


def _socket() -> t.Any:
    """One socket a process, which never blocks. Not connected, so that it outlives a restart of the journal."""
    if not _sender:
        import socket  # whoever writes an audit log speaks to a socket anyway, and has it loaded

        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        made.setblocking(False)
        _sender.append(made)
    return _sender[0]
