# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A QMP server that lies to both clients of ours: each command ends in time, with its own answer or a clear error."""

from __future__ import annotations

import asyncio
import os
import random
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.libraries import QMPError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session
from ansible_collections.maqet.qemu.tests.chaos.case import Broken, Figures, check
from ansible_collections.maqet.qemu.tests.chaos.liar import ANYTHING, ERROR, HANGS, REFUSED, RIGHT, Liar, Manner
from ansible_collections.maqet.qemu.tests.chaos.world import World

NAME: t.Final = "replies"
TITLE: t.Final = "wrong, random and mutated replies of a QMP server, to a module in direct mode and to a runner"
FULL: t.Final = 100_000
ROUND: t.Final = 1000
SHORT: t.Final = 3

#: Codes that a client may end with.
CODES: t.Final = frozenset(("monitor_unreachable", "qmp_timeout", "qemu_gone", "qmp_error"))
# Seconds that a command may take, from a liar that answers and from one that may not; commands in one conversation.
_PATIENT, _IMPATIENT, _COMMANDS = 20.0, 0.1, 40
# What scheduling on a busy machine may add, in seconds.
_SLACK = 10.0


class _Conversation:
    """One client of one connection: numbers its commands, and judges what they return."""

    def __init__(self, liar: Liar, seed: int, first: int) -> None:
        rng = random.Random(seed)
        self.seconds = _PATIENT
        self.liar = liar
        self.rng = rng
        self.tokens = iter(range(first, first + 1000))
        kind = rng.random()
        if kind < 0.03:
            self.seconds = _IMPATIENT
        liar.manner = Manner(seed, kind < 0.03, 4 if kind > 0.9 else 1)

    def demand(self, token: int, made: str, seen: object, seconds: float) -> None:
        """What a client has made of a command must be one of what it may make of it, in time."""
        allowed = self.liar.allowed.pop(token, frozenset((ERROR,)))
        check(made in allowed, f"command {token} ended as {made} and not as {sorted(allowed)}:", repr(seen)[:1000])
        check(seconds < self.seconds + _SLACK, f"command {token} took {seconds:.1f} s of {self.seconds:g}")


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """Conversations until as many replies have been sent, every second one by each client."""
    figures = Figures(tried=rounds)
    before = len(os.listdir("/proc/self/fd"))
    liar = Liar(world.folder / "qmp.sock")
    errors: dict[str, int] = {}
    first, conversations = 1, 0
    try:
        while liar.sent < rounds:
            seed = rng.getrandbits(32) if world.again is None else world.again
            talk = _Conversation(liar, seed, first)
            first, conversations = first + 1000, conversations + 1
            try:
                if seed % 2 or talk.liar.manner.together > 1:
                    asyncio.run(_session(talk, errors))
                else:
                    _direct(talk, errors)
            except Exception as error:  # anything else than an answer or an error of ours
                said = "\n".join(repr(one[:300]) for one in liar.last)
                raise Broken(f"--again {seed}: {error!r}; the last that was sent:\n{said}") from error
            figures.done = min(rounds, liar.sent)
            if world.again is not None:
                figures.tried = figures.done
                break
    except Broken as broken:
        figures.evidence.append(str(broken))
    finally:
        liar.close()
    left = len(os.listdir("/proc/self/fd")) - before
    if left > 0:
        figures.evidence.append(f"{left} descriptors are left open")
    figures.extra = {"conversations": conversations, "errors": errors}
    return figures


def _made_of(answer: object, token: int, errors: dict[str, int]) -> str:
    """The word of the liar's for it; Broken for an exception that no client may see."""
    if isinstance(answer, QmpError):
        return REFUSED if answer.desc == f"no {token}" else "a refusal of somebody else"
    if isinstance(answer, MaqetError):
        check(answer.error_code in CODES and len(str(answer)) < 1000, "an odd error:", repr(answer)[:2000])
        errors[answer.error_code] = errors.get(answer.error_code, 0) + 1
        return ERROR
    if isinstance(answer, BaseException):
        raise answer
    return RIGHT if answer == {"token": token} else ANYTHING


def _direct(talk: _Conversation, errors: dict[str, int]) -> None:
    begun = time.monotonic()
    try:
        monitor = DirectMonitor(talk.liar.path, talk.seconds)
    except MaqetError as error:
        check(_made_of(error, 0, errors) == ERROR, "connecting:", repr(error))
        return
    with monitor:
        for _number in range(_COMMANDS):
            token = next(talk.tokens)
            answer: object
            try:
                answer = monitor.execute("x-lie", {"token": token})
            except (QmpError, MaqetError) as error:
                answer = error
            talk.demand(token, _made_of(answer, token, errors), answer, time.monotonic() - begun)
            if isinstance(answer, MaqetError):
                return


async def _session(talk: _Conversation, errors: dict[str, int]) -> None:
    session = Session("liar")
    try:
        await asyncio.wait_for(session.connect(talk.liar.path), HANGS + _SLACK)
        together = talk.liar.manner.together
        for _number in range(_COMMANDS // together):
            tokens = [next(talk.tokens) for _one in range(together)]
            begun = time.monotonic()
            asked = [_one(session, talk, token) for token in tokens]
            answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), HANGS + _SLACK)
            for token, answer in zip(tokens, answers):
                talk.demand(token, _made_of(answer, token, errors), answer, time.monotonic() - begun)
            if any(isinstance(answer, MaqetError) and answer.error_code == "qemu_gone" for answer in answers):
                break
        for event in session.events(0):
            check(isinstance(event["seq"], int) and isinstance(event["event"], str), "an odd event:", repr(event)[:500])
    except (QMPError, EOFError, OSError) as error:
        check(session.version == "unknown", "after it had connected:", repr(error)[:500])
    finally:
        await asyncio.wait_for(session.close(), HANGS)


async def _one(session: Session, talk: _Conversation, token: int) -> t.Any:
    """A command, now and then one with an open file."""
    arguments: dict[str, t.Any] = {"token": token}
    if talk.rng.random() > 0.05:
        return await session.execute("x-lie", arguments, talk.seconds)
    passed = Passed(os.open("/dev/null", os.O_RDONLY), "fdset", lambda name: arguments.update(file=name))
    return await session.execute("x-lie", arguments, talk.seconds, [passed])
