# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers on real unix sockets that speak as QEMU and as a runner do, or misbehave as a test wants it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import socket
import threading
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import PROTOCOL
from ansible_collections.maqet.qemu.tests.unit.guard import schemas

# No test waits longer for a thread or a byte than this, in seconds: then something hangs, and the test fails.
PATIENCE = 30.0
Message = dict[str, t.Any]

GREETING: Message = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}}, "capabilities": ["oob"]}}
UUID = "6c1e7f8a-0000-4000-8000-000000000001"
COMMANDS = (
    "qmp_capabilities query-commands query-uuid query-status query-version stop cont quit system_powerdown pmemsave "
    "human-monitor-command set_password device_del netdev_add x-query-roms send-key"
).split()


def schema_of(names: t.Container[str]) -> list[Message]:
    """What QEMU 7.2 says of these commands, and of no others."""
    return [entry for entry in schemas.raw("7.2").values() if entry["meta-type"] != "command" or entry["name"] in names]


class Client:
    """One connection, seen from the server."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(PATIENCE)
        self._socket = connected
        self._buffer = b""
        self._kept: list[int] = []
        #: What the client calls its last command, if it has a name for it.
        self.number: t.Any = None

    def send(self, *messages: t.Union[Message, bytes]) -> None:
        """Send messages as lines, and bytes as they are; a client that has gone is none of our business.

        An answer that says nothing else is that to the last command.
        """
        if self.number is not None:
            messages = tuple(
                {"id": self.number, **m} if isinstance(m, dict) and ("return" in m or "error" in m) else m
                for m in messages
            )
        whole = b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(whole)

    def receive(self) -> t.Optional[Message]:
        """The next message, or None when the client has hung up.

        As QEMU does, it takes one JSON object after another; newlines between them mean nothing.
        """
        while True:
            text = self._buffer.lstrip()
            if text.endswith(b"}") or b"\n" in text:
                with contextlib.suppress(ValueError):  # not whole yet
                    message, end = json.JSONDecoder().raw_decode(text.decode())
                    self._buffer = text.decode()[end:].encode()
                    return dict(message)
            try:
                data, fds, _flags, _address = socket.recv_fds(self._socket, 1 << 20, 8)
            except (ConnectionResetError, OSError):
                return None
            if fds:  # as QEMU does: what came before and has not been taken is lost
                self._drop()
                self._kept = fds
            if not data:
                return None
            self._buffer += data

    def take(self) -> t.Optional[int]:
        """The descriptor that came last, if it has not been taken yet."""
        return self._kept.pop() if self._kept else None

    def _drop(self) -> None:
        while self._kept:
            os.close(self._kept.pop())

    def end(self) -> None:
        """Have both sides find the end of the conversation."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        self.end()
        self._drop()
        self._socket.close()


class FakeServer:
    """Serves its clients with ``talk``, in threads: one after another as a monitor does, or ``side_by_side``."""

    side_by_side = False

    def __init__(self, path: t.Union[str, os.PathLike[str]], talk: t.Callable[[Client], None]) -> None:
        self.path = os.fspath(path)
        #: Gets an item for each client that has hung up by itself.
        self.hung_up: queue.Queue[None] = queue.Queue()
        self.error: t.Optional[BaseException] = None
        self._talk = talk
        self._clients: list[Client] = []
        self._closed = False
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self.path)
        self._listening.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, kind: t.Any, error: t.Optional[BaseException], trace: t.Any) -> None:
        self.close()
        if error is None and self.error is not None:
            raise self.error

    def close(self) -> None:
        """End the server, and whatever conversations it has."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for client in self._clients:
            client.end()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _address = self._listening.accept()
            except OSError:
                return
            client = Client(connected)
            self._clients.append(client)
            if self._closed:  # it came while we closed, and was not among those that were told
                client.end()
            if self.side_by_side:
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()
            else:
                self._serve(client)

    def _serve(self, client: Client) -> None:
        try:
            self._talk(client)
            # Whatever the conversation was, it ends when the client hangs up.
            while client.receive() is not None:
                pass
            self.hung_up.put(None)
        except (ConnectionError, ValueError) as error:
            if not isinstance(error, ConnectionError):
                self.error = error
        finally:
            client.close()


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An answer of QEMU's that says no."""

    error_class: str
    desc: str


# What is returned, or said instead, or done (with the client and the message) instead of answering.
Answer = t.Union[t.Any, Refusal, t.Callable[[Client, Message], None]]


class FakeMonitor(FakeServer):
    """A QMP monitor with ``answers`` by command; ``received`` is what reached it, without ids and the negotiation."""

    def __init__(
        self,
        path: t.Union[str, os.PathLike[str]],
        answers: t.Optional[t.Mapping[str, Answer]] = None,
        greeting: t.Union[Message, bytes, None] = None,
    ) -> None:
        self.received: list[Message] = []
        self.greeting = GREETING if greeting is None else greeting
        self.answers: dict[str, Answer] = {
            "qmp_capabilities": {},
            "query-commands": [{"name": name} for name in COMMANDS],
            "query-qmp-schema": schema_of(COMMANDS),
            "query-uuid": {"UUID": UUID},
            "query-version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""},
            "query-status": {"status": "running", "running": True},
            **(answers or {}),
        }
        super().__init__(path, self._converse)

    def __enter__(self) -> FakeMonitor:
        return self

    @property
    def commands(self) -> list[str]:
        """The names of the commands that reached it."""
        return [message["execute"] for message in self.received]

    def _converse(self, client: Client) -> None:
        client.send(self.greeting)
        while True:
            message = client.receive()
            if message is None:
                self.hung_up.put(None)
                return
            client.number = message.pop("id", None)
            if message["execute"] != "qmp_capabilities":
                self.received.append(dict(message))
            if client.number is not None:
                message["id"] = client.number
            self._answer(client, message)

    def _answer(self, client: Client, message: Message) -> None:
        answer = self.answers.get(message["execute"], {})
        number = {"id": message["id"]} if "id" in message else {}
        if callable(answer):
            answer(client, message)
        elif isinstance(answer, Refusal):
            client.send({"error": {"class": answer.error_class, "desc": answer.desc}, **number})
        else:
            client.send({"return": answer, **number})


class Descriptors:
    """What QEMU does with descriptors: ``answers`` for a :class:`FakeMonitor`; ``sets`` and ``names`` are what it has.

    ``numbers`` are what ``add-fd`` says they are called, counted from 40; fdsets are numbered from 7.
    """

    def __init__(self) -> None:
        self.sets: dict[int, int] = {}
        self.names: dict[str, int] = {}
        self.seen: list[tuple[str, tuple[int, int]]] = []
        self._next = 0
        self.answers: dict[str, Answer] = {
            "add-fd": self._add,
            "getfd": self._get,
            "remove-fd": lambda client, message: self._remove(client, message, self.sets, "fdset-id"),
            "closefd": lambda client, message: self._remove(client, message, self.names, "fdname"),
        }

    def _take(self, client: Client, message: Message) -> t.Optional[int]:
        fd = client.take()
        if fd is None:
            self._refuse(client, message, "No file descriptor supplied via SCM_RIGHTS")
            return None
        status = os.fstat(fd)
        self.seen.append((message["execute"], (status.st_dev, status.st_ino)))
        return fd

    def _add(self, client: Client, message: Message) -> None:
        fd = self._take(client, message)
        if fd is not None:
            number, self._next = self._next, self._next + 1
            self.sets[7 + number] = fd
            _return(client, message, {"fd": 40 + number, "fdset-id": 7 + number})

    def _get(self, client: Client, message: Message) -> None:
        fd = self._take(client, message)
        if fd is not None:
            self.names[message["arguments"]["fdname"]] = fd
            _return(client, message, {})

    def _remove(self, client: Client, message: Message, what: dict[t.Any, int], key: str) -> None:
        fd = what.pop(message["arguments"][key], None)
        if fd is None:
            self._refuse(client, message, "not found")
        else:
            os.close(fd)
            _return(client, message, {})

    @staticmethod
    def _refuse(client: Client, message: Message, words: str) -> None:
        number = {"id": message["id"]} if "id" in message else {}
        client.send({"error": {"class": "GenericError", "desc": words}, **number})


def _return(client: Client, message: Message, answer: t.Any) -> None:
    client.send({"return": answer, **({"id": message["id"]} if "id" in message else {})})


def event(name: str, **data: t.Any) -> Message:
    """An event as QEMU sends it."""
    return {"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 2}}


def runner(answer: t.Callable[[Message], t.Iterable[t.Union[Message, bytes]]], protocol: t.Any = PROTOCOL) -> t.Any:
    """The conversation of a runner: hello, then what ``answer`` says to each request."""

    def talk(client: Client) -> None:
        client.send({"hello": {"protocol": protocol, "vm": "web", "uuid": UUID, "pid": 1, "digest": "d"}})
        while True:
            message = client.receive()
            if message is None:
                return
            client.send(*answer(message))

    return talk


def records(path: t.Union[str, os.PathLike[str]]) -> list[Message]:
    """The audit records on disk."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]
