# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many pieces of work at once, each in a process of its own that is forked for it.

Not threads: locks are waited for with an alarm, which only a main thread has, and one piece that crashes must not take
the others with it. Not a pool: a child that knows one piece only ends with it, also when we have been killed meanwhile.
A fork is sound here because a module has one thread, and because it waits for its children: the archive from which
Ansible runs it is there as long as they import from it.
"""

from __future__ import annotations

import json
import os
import selectors
import traceback
import typing as t

Answer = t.Dict[str, t.Any]
#: ``act`` does one piece, named by a text, and returns what can be JSON.
Act = t.Callable[[str], Answer]
#: Told of each piece that has ended; whether further ones may be begun.
Told = t.Callable[[str, Answer], bool]
#: What is known of a piece whose process ended without an answer.
Lost = t.Callable[[str], Answer]


def side_by_side(pieces: t.Sequence[str], act: Act, lost: Lost, at_once: int, told: Told) -> dict[str, Answer]:
    """The answers of all pieces that were begun, in the order in which they ended.

    At most ``at_once`` run at a time, and they are begun in their order. ``lost`` makes an answer of a sentence.
    """
    waiting = list(reversed(pieces))
    answers: dict[str, Answer] = {}
    with selectors.DefaultSelector() as selector:
        running: dict[int, _Child] = {}
        while waiting or running:
            while waiting and len(running) < max(1, at_once):
                child = _Child(waiting.pop(), act, list(running))
                running[child.reader] = child
                selector.register(child.reader, selectors.EVENT_READ)
            for key, _events in selector.select():
                child = running[key.fd]
                if child.read():
                    continue
                selector.unregister(key.fd)
                del running[key.fd]
                answers[child.piece] = child.answer(lost)
                if not told(child.piece, answers[child.piece]):
                    waiting.clear()
    return answers


class _Child:
    """One piece and the process that does it; ``reader`` is where its answer comes from."""

    def __init__(self, piece: str, act: Act, others: t.Sequence[int]) -> None:
        self.piece = piece
        self.reader, writer = os.pipe()
        self._said: list[bytes] = []
        self._pid = os.fork()
        if self._pid == 0:
            _live(piece, act, writer, (*others, self.reader))
        os.close(writer)

    def read(self) -> bool:
        """Take what it has said; False at its end."""
        said = os.read(self.reader, 1 << 16)
        self._said.append(said)
        return bool(said)

    def answer(self, lost: Lost) -> Answer:
        """After its end."""
        os.close(self.reader)
        _pid, status = os.waitpid(self._pid, 0)
        try:
            return dict(json.loads(b"".join(self._said)))
        except ValueError:
            ended = os.waitstatus_to_exitcode(status)
            how = f"by signal {-ended}" if ended < 0 else f"with status {ended}"
            words = b"".join(self._said).decode(errors="replace").strip()
            return lost(f"The process that worked on it ended {how}. {words or 'It said nothing.'}")


def _live(piece: str, act: Act, writer: int, foreign: t.Iterable[int]) -> t.NoReturn:
    """The child's whole life. It must not return: what stands above it on the stack is its parent's business."""
    status = 1
    try:
        for fd in foreign:
            os.close(fd)  # who holds the reading end of a pipe keeps its writer waiting for a reader that is gone
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # a child that outlives a killed module must not hold the task open
            os.dup2(null, fd)
        _say(writer, json.dumps(act(piece)))
        status = 0
    except BaseException:  # pylint: disable=broad-exception-caught  # the last frame of a process
        _say(writer, traceback.format_exc())
    finally:
        os._exit(status)


def _say(writer: int, text: str) -> None:
    said = memoryview(text.encode())
    while said:
        said = said[os.write(writer, said) :]
