# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that no client of ours would send, and clients that do not behave: the runner answers, and serves the others.

No frame can harm the VM: the grammar names commands that only ask, and names that QEMU does not know. Two frames in a
hundred get as far as the guard, whose denials are synced to the disk one by one; the rest end before it.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import select
import socket
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.tests.chaos import garble
from ansible_collections.maqet.qemu.tests.chaos.case import Broken, Figures, check, percentiles
from ansible_collections.maqet.qemu.tests.chaos.patient import Patient
from ansible_collections.maqet.qemu.tests.chaos.world import NOTHING, World

NAME: t.Final = "frames"
TITLE: t.Final = "random and mutated frames to the runner's socket; peers that stall, flood, and come at once"
FULL: t.Final = 100_000
ROUND: t.Final = 1000
SHORT: t.Final = 3

VM = "garbled"
#: Milliseconds within which others must be served (99 of 100) by a runner that has a CPU whenever it wants one, and MB
#: by which it may grow. Where other processes take its CPU, as `./dev test` beside a build does, it may take as much
#: longer as it was kept waiting, at most five times.
PROMPT, SLOWEST, GROWTH = 100.0, 5.0, 20.0
#: Frames from which on that is judged. The short form in `./dev test` is no gate on time, and only reports it.
JUDGED: t.Final = 20 * ROUND
#: MB by which it may grow for a moment while three lines of 32 MiB come in.
LONG_GROWTH = 160.0
# Frames in one connection, peers at once, and how long a peer stalls or floods, in seconds.
_BATCH, _PEERS, _SECONDS = 250, 200, 3.0
# Nothing is waited for longer than this, in seconds: then it hangs.
_HANGS = 60.0
_COMMANDS = ("query-status", "query-version", "query-block", "query-nothing", "x-maqet-none", "", "é", "a;b")
_CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """The frames first, then the peers; beside them a client that measures how long it waits."""
    figures = Figures(tried=rounds)
    pid = world.vm(VM, state="running", **NOTHING)["vm"]["runner_pid"]
    path = world.paths(VM).runner_socket
    runner = _Runner(pid)
    try:
        with Patient(path, world.collections) as patient:
            for name, play in _PHASES:
                patient.phase(name)
                runner.begin()
                play(path, rng, figures)
                runner.end(name)
            patient.phase("")
    except (Broken, OSError) as error:
        figures.evidence.append(f"{error!r}\n{world.evidence()}")
    else:
        _judge(figures, patient, runner)
        check(world.info(VM)["runner_pid"] == pid, "it is another runner")
        world.remove(VM)
    return figures


def _judge(figures: Figures, patient: Patient, runner: _Runner) -> None:
    waits = {name: percentiles(waits) for name, waits in patient.waits.items()}
    figures.extra.update({"others served, ms": waits, "growth, MB": runner.growth, "slowed down": runner.slowed})
    for name, found in waits.items():
        if figures.tried >= JUDGED and found["p99"] > PROMPT * min(runner.slowed[name], SLOWEST):
            figures.evidence.append(f"{name}: others waited {found['p99']} ms (p99)")
    for name, (peak, left) in runner.growth.items():
        # What long lines take, a runner that waits for its CPU gives back in the phase after them.
        long = {"long lines": (LONG_GROWTH, LONG_GROWTH), "afterwards": (LONG_GROWTH, GROWTH)}
        most, most_left = long.get(name, (GROWTH, GROWTH))
        if peak > most or left > most_left:
            figures.evidence.append(f"{name}: the runner grew by {peak} MB, {left} MB of it stayed")


class _Runner:
    """What the kernel says of the runner in each phase.

    ``growth``: resident memory in MB more than at first, at the worst moment and at the end; ``slowed``: how much
    slower other processes made it, the time that it ran or waited for a CPU by the time that it ran (schedstat).
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc", str(pid))
        self._first = self._memory("VmRSS")
        self._begun = self._times()
        self.growth: dict[str, tuple[float, float]] = {}
        self.slowed: dict[str, float] = {}

    def _memory(self, key: str) -> float:
        found = re.search(rf"^{key}:\s+(\d+) kB", (self._folder / "status").read_text(), re.MULTILINE)
        check(found, "the runner is gone")
        return int(t.cast("re.Match[str]", found)[1]) / 1024

    def _times(self) -> tuple[int, int]:
        ran, waited, _slices = map(int, (self._folder / "schedstat").read_text().split())
        return ran, waited

    def begin(self) -> None:
        """From here on the peak is another one (proc(5), clear_refs)."""
        (self._folder / "clear_refs").write_text("5")
        self._begun = self._times()

    def end(self, name: str) -> None:
        (ran, waited), (ran_before, waited_before) = self._times(), self._begun
        self.slowed[name] = round(1 + (waited - waited_before) / max(1, ran - ran_before), 1)
        peak, left = (self._memory(key) - self._first for key in ("VmHWM", "VmRSS"))
        self.growth[name] = round(peak, 1), round(left, 1)


# --- frames ---


def _frames(path: str, rng: random.Random, figures: Figures) -> None:
    """All of ``figures.tried``; each line gets one answer of a documented shape, and so does a question after them."""
    while figures.done < figures.tried:
        frames = [frame(rng) for _number in range(min(_BATCH, figures.tried - figures.done))]
        try:
            _exchange(path, rng, frames, _HANGS)
        except (Broken, OSError, ValueError) as error:
            raise Broken(f"{error!r}, after frame {figures.done}; {_culprit(path, rng, frames)}") from None
        figures.done += len(frames)


def _culprit(path: str, rng: random.Random, frames: list[bytes]) -> str:
    """The first of these frames that is enough by itself, escaped."""
    for one in frames:
        try:
            _exchange(path, rng, [one], 5)
        except (Broken, OSError, ValueError) as error:
            return f"{error!r} after this alone, of {len(one)} bytes: {one[:1500]!r}"
    return f"none of these alone: {[one[:60] for one in frames]!r}"[:8000]


def frame(rng: random.Random) -> bytes:
    """One line."""
    kind = rng.random()
    if kind < 0.25:
        return garble.noise(rng)
    if kind < 0.30:
        return garble.line(garble.value(rng))
    if kind < 0.32:
        return garble.with_member(rng, garble.line({"id": 1, "op": "status"}), rng.choice((b"id", b"x", b"context")))
    if kind < 0.33:
        return garble.noise(rng, 60_000)
    if kind < 0.35:
        return garble.line(_asking(rng))
    return garble.mutate(rng, garble.line(_request(rng)))


def _asking(rng: random.Random) -> garble.Json:
    """A request that the guard has to judge."""
    commands: list[dict[str, t.Any]] = [{"execute": rng.choice(_COMMANDS)} for _number in range(rng.randint(1, 2))]
    if rng.random() < 0.3:
        commands[0]["arguments"] = {"x": garble.value(rng)}
    return {"id": rng.randrange(99), "op": "qmp", "commands": commands, "timeout": rng.choice((0.001, 5, 1e9))}


def _request(rng: random.Random) -> garble.Json:
    """Right in its form, with members of any type."""
    request: dict[str, t.Any] = {
        "id": rng.randrange(1000),
        "op": rng.choice(("status", "subscribe", "qmp", "guest", "x")),
    }
    members: dict[str, list[t.Any]] = {
        "names": [None, [], ["STOP"], ["STOP", 5], "STOP"],
        "since": [None, 0, 1, -1, True, 1.5, 10**30],
        "commands": [[], [{}], [5], {}, None, [{"execute": None}, {"execute": "query-none", "id": 1}]],
        "timeout": [0, -1, 1e-9, 10**400, float("nan"), float("inf"), "1", True],
        "witness": [{}, {"seq": 1, "hash": "0"}, {"seq": "x"}, 5],
        "policy": [{}, {"deny": ["*"]}, 5, []],
        "context": [{}, {"task": 5}, {"user": "x" * 500}, 5],
        **{name: [None, True, 5, "x"] for name in ("allow_dangerous", "check", "explain", "reason", "wait_exit")},
    }
    for name in rng.sample(list(members), rng.randrange(6)):
        request[name] = rng.choice(members[name]) if rng.random() < 0.7 else garble.value(rng)
    return request


def _exchange(path: str, rng: random.Random, frames: list[bytes], seconds: float) -> None:
    """Send them in pieces of any size, and read the answers meanwhile; they come in any order."""
    with _connected(path) as peer:
        data = b"".join(frames) + garble.line({"id": "last", "op": "status"})
        left, ids = data.count(b"\n"), []
        for message in _pump(peer, rng, data, seconds):
            if "event" in message or "hello" in message:
                continue
            _demand_answer(message)
            ids.append(message["id"])
            left -= 1
            if left == 0:
                check("last" in ids, "the last question had no answer, another had two")
                return
        raise Broken(f"it hung up, and owes {left} answers")


def _demand_answer(message: garble.Json) -> None:
    """It has an id, and a result or an error with a code."""
    code = message["error"]["error_code"] if "error" in message else "fine"
    good = "id" in message and ("error" in message or isinstance(message.get("result"), dict))
    if not good or code == "internal" or not _CODE.fullmatch(code):
        raise Broken(f"an answer that is none: {json.dumps(message)[:1000]}")


def _pump(peer: socket.socket, rng: random.Random, data: bytes, seconds: float) -> t.Iterator[garble.Json]:
    """What comes back, message by message, until the other side hangs up."""
    peer.setblocking(False)
    rest, unsent = b"", memoryview(data)
    while True:
        readable, writable, _odd = select.select([peer], [peer] if unsent else [], [], seconds)
        check(readable or writable, f"nothing within {seconds:g} s")
        if writable:
            with contextlib.suppress(BlockingIOError):
                unsent = unsent[peer.send(unsent[: rng.choice((1, 7, 500, 5000, 60_000))]) :]
        if readable:
            some = peer.recv(1 << 20)
            if not some:
                return
            *lines, rest = (rest + some).split(b"\n")
            yield from map(json.loads, lines)


def _connected(path: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(path)
    peer.settimeout(_HANGS)
    return peer


# --- peers ---


def _stalling(path: str, _rng: random.Random, _figures: Figures) -> None:
    """Half a line, half a long line, and nothing is read; a request of 17 MB has room beside them."""
    with contextlib.ExitStack() as stack:
        for begun in (b'{"id": 1, "op":', b'{"id": "' + b"x" * 100_000, b""):
            stack.enter_context(_connected(path)).sendall(begun)
        half_open = stack.enter_context(_connected(path))
        half_open.shutdown(socket.SHUT_WR)
        for _number in range(50):
            _connected(path).close()  # before the hello
            with _connected(path) as leaver:
                leaver.sendall(garble.line({"id": 1, "op": "status"}) * 20)
        _pause(_SECONDS)


def _flooding(path: str, _rng: random.Random, _figures: Figures) -> None:
    """More questions than it reads answers to."""
    end = time.monotonic() + _SECONDS
    question = garble.line({"id": 1, "op": "status"}) * 50
    with _connected(path) as peer:
        peer.settimeout(0.1)
        while time.monotonic() < end:
            with contextlib.suppress(socket.timeout):
                peer.sendall(question)


def _at_once(path: str, _rng: random.Random, _figures: Figures) -> None:
    """Two hundred come in one moment, ask, and stay until all have their answer; a few times."""
    for _wave in range(10):
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(_connected(path)) for _number in range(_PEERS)]
            for peer in peers:
                peer.sendall(garble.line({"id": 1, "op": "status"}))
            for peer in peers:
                with peer.makefile("rb") as lines:
                    check("hello" in json.loads(lines.readline()), "no hello")
                    check("result" in json.loads(lines.readline()), "no answer")


def _too_long(path: str, _rng: random.Random, _figures: Figures) -> None:
    """Lines that are longer than any request, and one that is as long as a request may be."""
    with contextlib.ExitStack() as stack:
        for _number in range(6):
            peer = stack.enter_context(_connected(path))
            with contextlib.suppress(ConnectionError):
                peer.sendall(b"x" * (34 << 20))
                while peer.recv(1 << 20):
                    pass
    command = {"execute": "query-status", "arguments": {"x": "x" * 17_000_000}}
    with RunnerClient(path, VM, _HANGS) as client:
        verdict = client.request("qmp", commands=[command], explain=True)["decisions"][0]
    check(verdict["rule"] == "schema", "17 MB had the verdict", str(verdict)[:500])


def _pause(seconds: float) -> None:
    """Let the others be measured."""
    select.select([], [], [], seconds)


_PHASES: t.Final[tuple[tuple[str, t.Callable[[str, random.Random, Figures], None]], ...]] = (
    ("alone", lambda _path, _rng, _figures: _pause(_SECONDS)),
    ("frames", _frames),
    ("stalling", _stalling),
    ("flooding", _flooding),
    ("200 at once", _at_once),
    ("long lines", _too_long),
    ("afterwards", lambda _path, _rng, _figures: _pause(_SECONDS)),
)
