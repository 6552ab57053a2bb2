# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The language between a module and a runner: one JSON object a line, both ways.

====================  ======================================================================
server, first         ``{"hello": {"protocol": 2, "vm": …, "uuid": …, "pid": …, "digest": …}}``
client                ``{"id": 7, "op": "qmp", …}``; ids are the client's, many may be open
server                ``{"id": 7, "result": {…}}`` or ``{"id": 7, "error": {"error_code": …}}``
server, subscribed    ``{"event": {"seq": 12, "event": "STOP", "data": {…}, "timestamp": {…}}}``
server, last          ``{"goodbye": {}}``: it leaves, QEMU lives. What has no answer yet has not been
                      read, and may be asked of the next runner. Nothing is said when QEMU has ended.
====================  ======================================================================

A module speaks with the runners of versions ``OLDEST`` to ``PROTOCOL``: one that is older was started by an older
collection, and lives as long as its VM. What a newer version adds is new fields, which an older runner does not
read, and new operations, which it refuses with ``invalid_request``. Version 2 added ``goodbye``, and events that
outlive a runner.

Operations: ``status``; ``subscribe`` (``names`` or null for all, ``since`` a seq or null for now);
``qmp`` (``commands``: list of ``{"execute", "arguments"}``, ``allow_dangerous``, ``check``,
``explain``, ``reason``, ``context``, ``timeout``, ``policy``: what this task takes away from the host's,
``witness``: ``{"seq", "hash"}`` of a record that the log must still hold).
``guest``, the same for the guest's agent, with ``explain`` (the
verdicts, nothing is sent), ``max_reply`` (bytes of one reply), ``wait_agent`` (until the agent has opened
its port), ``wait_exit`` (the one command is ``guest-exec``, and ``guest-exec-status`` follows until the
program has ended: two decisions, two responses) and ``wait_address`` (the one command is
``guest-network-get-interfaces``, which is put until there is an address of ``family`` on one of ``macs``).
``frozen``, as ``qmp``, and the guest's agent freezes its file systems before and thaws them after (``frozen``: how
many; in an error ``thawed`` is false if that has failed). Runners of before this operation refuse it.
"""

from __future__ import annotations

import json
import typing as t

PROTOCOL = 2
OLDEST = 1
# QEMU's largest answer today, its schema, is 0.3 MB; a line longer than this is not one of ours.
MAX_LINE = 64 * 1024 * 1024


def encode(message: t.Mapping[str, t.Any]) -> bytes:
    """One message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: t.Union[bytes, bytearray]) -> dict[str, t.Any]:
    """The message of one line; ValueError if it is not a JSON object."""
    try:
        message = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message
