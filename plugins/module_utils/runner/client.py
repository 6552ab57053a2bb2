# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library's QMP client, fit for a QEMU that may send anything, and for clients of ours that must not wait for it.

What is overridden here is private to qemu.qmp 0.0.6; ``tests/unit/runner/test_runner_client.py`` fails if it moves.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import MAX_LINE
from ansible_collections.maqet.qemu.plugins.module_utils.runner.libraries import QMPClient, QMPError

log = logging.getLogger("maqet.session")


class Client(QMPClient):
    """A client of one monitor."""

    def __init__(self, name: str) -> None:
        super().__init__(name, readbuflen=MAX_LINE)
        # The library logs whole messages, in errors too (they quote what they could not read), and messages hold
        # passwords. What an administrator must know is logged below, without a quotation.
        self.logger = logging.getLogger("maqet.qmp")
        self.logger.setLevel(logging.CRITICAL)

    async def leave(self, seconds: float) -> None:
        """Hang up. A QEMU that takes nothing any more does not get the rest: after ``seconds`` it is cut off."""
        leaving = asyncio.ensure_future(self.disconnect())
        done, _pending = await asyncio.wait({leaving}, timeout=seconds)
        if not done and self._writer is not None:
            self._writer.transport.abort()  # which ends the library's wait for the rest to be sent
            await asyncio.wait({leaving})
        error = leaving.exception()
        if error is not None and not isinstance(error, (QMPError, OSError, EOFError)):
            log.warning("the conversation with QEMU had ended: %s", type(error).__name__)

    def _cb_inbound(self, msg: t.Any) -> t.Any:
        """The library would write out each message, indented, for a log that is off: 35 ms for a schema."""
        return msg

    def _cb_outbound(self, msg: t.Any) -> t.Any:
        return msg

    async def _negotiate(self) -> None:
        """The library takes whatever comes next for the answer; QEMU may send an event just before it."""
        self._negotiating = True
        try:
            await super()._negotiate()
        finally:
            self._negotiating = False

    async def _recv(self) -> t.Any:
        message = await super()._recv()
        while self._negotiating and "event" in message:
            await self._event_dispatch(message)
            message = await super()._recv()
        return message

    _negotiating = False

    async def _bh_recv_message(self) -> None:
        try:
            await super()._bh_recv_message()
        except (asyncio.CancelledError, EOFError):
            raise
        except Exception as error:
            log.error("what QEMU sent is not QMP (%s): it is not spoken to any more", type(error).__name__)
            raise
