# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the library's client does when ours has taken its private parts over, with a monitor that is not QEMU."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import threading
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.runner import session as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner.client import Client as Ours
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Client, FakeMonitor, Message, event

pytest.importorskip("qemu.qmp")


def converse(fake: FakeMonitor, scenario: t.Callable[[Session], t.Coroutine[t.Any, t.Any, None]]) -> None:
    async def whole() -> None:
        session = Session("web")
        await session.connect(fake.path)
        try:
            await scenario(session)
        finally:
            await session.close()

    asyncio.run(asyncio.wait_for(whole(), PATIENCE))


def test_what_is_overridden_is_there() -> None:
    """Else the library has changed, and ours does nothing without a word."""
    for name in ("_cb_inbound", "_cb_outbound", "_negotiate", "_recv", "_bh_recv_message"):
        assert callable(getattr(super(Ours, Ours), name)), name
    assert hasattr(Ours("web"), "_writer") and hasattr(Ours("web"), "_event_dispatch")


def test_an_event_before_the_answer_to_the_negotiation(tmp_path: pathlib.Path) -> None:
    """QEMU sends events from the moment on at which it has read the command, from another thread than its answer."""
    answers = {
        "qmp_capabilities": lambda client, message: client.send(
            event("STOP"), event("RESUME"), {"return": {}, "id": message.get("id")}
        )
    }

    async def scenario(session: Session) -> None:
        assert await session.run_state() == "running"
        assert [one["event"] for one in session.events(0)] == ["STOP", "RESUME"]

    with FakeMonitor(tmp_path / "monitor.sock", answers) as fake:
        converse(fake, scenario)


@pytest.mark.parametrize(
    "nonsense", [b"s3cret\n", b"\xff\xffs3cret\n", b"[" * 99_999 + b"\n", b'["s3cret"]\n', b'{"id": ["s3cret"]}\n']
)
def test_nonsense_ends_the_conversation_without_a_quotation(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, nonsense: bytes
) -> None:
    """Every command has its error, hanging up raises nothing, and the log says what happened but not what was sent."""
    caplog.set_level(logging.DEBUG)

    async def scenario(session: Session) -> None:
        asked = [session.execute(command, {}, PATIENCE) for command in ("cont", "cont", "stop")]
        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert getattr(error, "error_code", None) == "qemu_gone", error
            assert "s3cret" not in str(error)

    answers: dict[str, t.Any] = {
        "cont": lambda _client, _message: None,
        "stop": lambda client, _message: client.send(nonsense),
    }
    with FakeMonitor(tmp_path / "monitor.sock", answers) as fake:
        converse(fake, scenario)
    assert "what QEMU sent is not QMP" in caplog.text
    assert "s3cret" not in caplog.text


def test_leaving_a_qemu_that_does_not_read(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is stopped by a signal: what it was to be told waits, and must not keep the runner."""
    monkeypatch.setattr(room, "_GOODBYE", 0.2)
    over = threading.Event()

    def busy(client: Client, _message: Message) -> None:
        over.wait(PATIENCE)
        client.end()

    async def whole(path: str) -> None:
        session = Session("web")
        await session.connect(path)
        asked = [
            asyncio.ensure_future(session.execute("stop", {"x": "x" * size}, PATIENCE)) for size in (1, 5_000_000, 1)
        ]
        await asyncio.wait(asked, timeout=0.2)
        begun = time.monotonic()
        await session.close()
        assert time.monotonic() - begun < PATIENCE / 2
        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert getattr(error, "error_code", None) == "qemu_gone", error

    with FakeMonitor(tmp_path / "monitor.sock", {"stop": busy}) as fake:
        try:
            asyncio.run(asyncio.wait_for(whole(fake.path), PATIENCE))
        finally:
            over.set()
