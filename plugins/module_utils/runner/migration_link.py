# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections between the two runners of a migration: unix sockets that whoever drives it has joined.

Each connection to the socket ``runner`` begins with one line of JSON that says what it is for, and goes on when the
other side has answered ``{"ok": true}``. After that a ``control`` connection carries lines of JSON, and ``memory``
belongs to the two QEMUs. What comes to the socket ``disks`` is for the NBD server of the QEMU that receives.

The sockets are in a folder that only the user who connects may enter; who gets that far may talk to us.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

RUNNER, DISKS = "runner", "disks"
#: A line between runners is short, in bytes.
MAX_LINE = 64 * 1024
# How long the other side may take to answer what it was just asked, in seconds.
_ANSWER = 60.0

Message = t.Dict[str, t.Any]


def listen(folder: str, name: str) -> socket.socket:
    """A listening socket for whoever owns ``folder``."""
    path = os.path.join(folder, name)
    owner = os.stat(folder)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listening.bind(path)
        if owner.st_uid != os.geteuid():
            os.chown(path, owner.st_uid, owner.st_gid)
        listening.listen()
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise unreachable(f"{path}: {error.strerror}") from None
    return listening


async def connect(folder: str, name: str) -> socket.socket:
    """A connection to the other side."""
    path = os.path.join(folder, name)
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connected.setblocking(False)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connected, path), _ANSWER)
    except (OSError, asyncio.TimeoutError) as error:
        connected.close()
        raise unreachable(f"{path}: {getattr(error, 'strerror', None) or 'nobody takes the call'}") from None
    return connected


async def open_channel(folder: str, about: Message) -> socket.socket:
    """A connection to the other runner for what ``about`` says; ``migration_failed`` with its words if it refuses."""
    connected = await connect(folder, RUNNER)
    try:
        await send(connected, about)
        answer = await asyncio.wait_for(receive(connected), _ANSWER)
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        connected.close()
        raise unreachable(str(error) or "it does not answer") from None
    if answer is None or answer.get("ok") is not True:
        connected.close()
        if answer is not None and isinstance(answer.get("error"), dict):
            raise MaqetError.from_dict(answer["error"])
        raise unreachable("the connection was closed")
    return connected


async def send(connected: socket.socket, message: Message) -> None:
    """One line."""
    await asyncio.get_running_loop().sock_sendall(connected, json.dumps(message).encode() + b"\n")


async def receive(connected: socket.socket) -> t.Optional[Message]:
    """One line, and not a byte more; None at the end. ValueError for what is none."""
    loop, line = asyncio.get_running_loop(), bytearray()
    while True:
        byte = await loop.sock_recv(connected, 1)
        if not byte:
            return None
        if byte == b"\n":
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError("not a JSON object")
            return message
        line += byte
        if len(line) > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} bytes")


def unreachable(why: str) -> MaqetError:
    """The other side is not there, or not any more."""
    return MaqetError(f"The runner on the other host cannot be reached: {why}.", "migration_failed")
