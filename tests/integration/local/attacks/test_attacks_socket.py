# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes on the runner's own socket that no module of ours would send: what is judged is what QEMU gets, or nothing."""

from __future__ import annotations

import json
import socket
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.integration.local.conftest import state_of

_SECONDS = 20.0


def said(name: str, *lines: bytes) -> list[dict[str, t.Any]]:
    """What the runner answers to these lines until it hangs up, without its hello. We end the sending."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_SECONDS)
        client.connect(layout().vm(name).runner_socket)
        client.sendall(b"".join(line + b"\n" for line in lines))
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            return [json.loads(line) for line in answers][1:]


def qmp(commands: str, more: str = "") -> bytes:
    """A request of the runner's protocol, written by hand."""
    return f'{{"id":1,"op":"qmp","commands":[{commands}]{more}}}'.encode()


def test_what_is_no_request_is_none(running: str) -> None:
    """Several objects a line, single quotes, arrays, QEMU's own words: an error each, and nothing is sent."""
    before = len(read(layout().vm(running).audit_log))
    for line in (
        b"{'id':1,'op':'qmp','commands':[{'execute':'quit'}]}",
        qmp('{"execute":"query-name"}') + qmp('{"execute":"quit"}'),
        b'[{"id":1,"op":"qmp","commands":[{"execute":"quit"}]}]',
        b'{"execute":"quit"}',
        b'{"exec-oob":"quit","id":1}',
        b'{"id":1,"op":"quit"}',
        qmp('{"exec-oob":"quit"}'),
        qmp('["quit"]'),
        qmp('"quit"'),
        b"\xff\xfe" + qmp('{"execute":"quit"}'),
    ):
        answers = said(running, line)
        assert not any("result" in answer for answer in answers), (line, answers)
    after = read(layout().vm(running).audit_log)[before:]
    assert {record["phase"] for record in after} <= {"deny"}
    assert state_of(running) == "running"


def test_what_is_said_twice_is_judged_as_it_is_sent(running: str, tmp_path: Path) -> None:
    """Of a name that stands twice, guard and QEMU see the same one, whichever that is."""
    outside = tmp_path / "outside.bin"
    inside = '"filename":"twice.bin"'
    outer = f'"filename":{json.dumps(str(outside))}'
    for order in (f"{inside},{outer}", f"{outer},{inside}"):
        said(running, qmp(f'{{"execute":"pmemsave","arguments":{{"val":0,"size":16,{order}}}}}'))
    said(
        running,
        qmp('{"execute":"query-name","execute":"human-monitor-command","arguments":{"command-line":"log all"}}'),
    )
    said(running, qmp('{"execute":"inject-nmi"}', ',"allow_dangerous":false,"allow_dangerous":"true"'))
    said(running, qmp('{"execute":"inject-nmi"}', ',"check":false,"allow_dangerous":1'))
    assert not outside.exists()
    records = read(layout().vm(running).audit_log)
    sent = [record["op"] for record in records if record["phase"] == "intent"]
    assert "human-monitor-command" not in sent and "inject-nmi" not in sent
    assert verify(layout().vm(running).audit_log).ok
    assert state_of(running) == "running"
