# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The caller as a witness: a record that a task returned must still be in the log when the next one begins.

Whoever may write the log can cut off its end or rewrite it with new hashes. What was returned to a
controller before, ``{seq, hash}``, shows it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import parse
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import chain_hash
from ansible_collections.maqet.qemu.plugins.module_utils.guard.segments import Files

_REMEDY = (
    "Keep the log as evidence and find out who can write it. maqet_audit_info verifies what is left; "
    "to go on with the log as it is, give the seq and hash of its present end, or no witness."
)


def checked(witness: t.Any, option: str = "witness") -> dict[str, t.Any]:
    """``witness`` as ``{seq, hash}``; MaqetError ``invalid_option`` when it is something else."""
    if isinstance(witness, dict):
        seq, digest = witness.get("seq"), witness.get("hash")
        if isinstance(seq, str) and seq.isascii() and seq.isdigit():
            seq = int(seq)  # Ansible makes a string of a number in a template
        good = isinstance(seq, int) and not isinstance(seq, bool) and seq > 0
        if good and isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
            return {"seq": seq, "hash": digest}
    remedy = "Give 'seq' and 'hash' of a record that a task returned under 'audit'."
    raise invalid_option(option, witness, "is not a place in an audit log", remedy)


def check_witness(path: str, witness: dict[str, t.Any]) -> MaqetError | None:
    """Whether the log at ``path`` still holds the record that the witness saw; None when it does.

    Read from the end backwards down to that record, with every hash and link on the way, so a
    recent one costs little. Returns a MaqetError ``audit_tampered`` otherwise (it is not raised: who
    asks decides when), ``audit_failed`` when the log cannot be read.
    """
    try:
        with Files(path) as files:
            problem = _problem(files.backwards(), int(witness["seq"]), str(witness["hash"]))
    except FileNotFoundError:
        problem = "the whole log is gone"
    except OSError as error:
        why = error.strerror or str(error)
        return MaqetError(f"the audit log {path} cannot be read: {why}.", "audit_failed", path=path)
    if problem is None:
        return None
    details = {"path": path, "witness": {"seq": witness["seq"], "hash": witness["hash"]}, "remedy": _REMEDY}
    message = f"the audit log {path} was tampered with: {problem}. {_REMEDY}"
    return MaqetError(message, "audit_tampered", **details)


def _problem(lines: t.Iterable[bytes], seq: int, digest: str) -> str | None:
    """What speaks against the record ``seq`` with the hash ``digest`` being in ``lines`` (newest first)."""
    behind: dict[str, t.Any] | None = None  # the record that was read before: it stands behind this one
    torn = True  # the end of the log may be a line that a crash has cut short
    for line in lines:
        record = parse(line)
        if record is None or not isinstance(record.get("seq"), int):
            if torn:
                torn = False
                continue
            return f"a line before record {behind['seq'] if behind else '?'} is not a record"
        wrong = _broken(record, behind)
        if wrong is not None:
            return wrong
        if record["seq"] <= seq:
            return _same(record, seq, digest)
        behind, torn = record, record.get("torn") is True
    if behind is None:
        return "the log is empty"
    return f"it begins with record {behind['seq']}, and the witness saw record {seq}"


def _broken(record: dict[str, t.Any], behind: dict[str, t.Any] | None) -> str | None:
    seq = record["seq"]
    prev = record.get("prev")
    try:
        if not isinstance(prev, str) or record.get("hash") != chain_hash(prev, record):
            return f"record {seq} does not have the content that its hash was made of"
    except ValueError:  # no canonical form, or prev is no hash
        return f"record {seq} has no form that a record can have"
    if behind is not None and (behind["seq"] != seq + 1 or behind.get("prev") != record["hash"]):
        return f"record {behind['seq']} does not continue record {seq}"
    return None


def _same(record: dict[str, t.Any], seq: int, digest: str) -> str | None:
    if record["seq"] < seq:
        return f"the witness saw record {seq}, and the log ends with record {record['seq']}"
    return None if record.get("hash") == digest else f"record {seq} is not the one that the witness saw"
