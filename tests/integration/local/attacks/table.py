# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words in which attacks are written down: places, steps, preparations and effects.

An attack is data, so that the same table is run against a bare monitor, where each must succeed (else it would prove
nothing), and against the guard, where none may.
"""

from __future__ import annotations

import json
import os
import socket
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

#: What a leaked file would show.
MARK = "SECRETMARK-4c1d"
SECRET = f"root:$6${MARK}:19000:0:99999:7:::\n"
#: What a file that is overwritten would lose.
ORIGINAL = "ORIGINAL"

#: What the guard must answer to a step. ``setup``: allowed. ``denied``: refused before QEMU sees it.
#: ``follow``: only sent to a bare monitor, to show the effect.
Expect = t.Literal["setup", "denied", "follow"]


@dataclass(frozen=True)
class Place:
    """The folders that an attack speaks of. ``<victim>`` and its like in its texts mean these.

    ``victim`` is outside of all that the VM may touch, ``allowed`` is its output folder, ``disks`` where its own
    images lie, ``run`` where its sockets are; ``port`` is free on 127.0.0.1.
    """

    victim: Path
    allowed: Path
    disks: Path
    run: Path
    port: int

    def fill(self, value: t.Any) -> t.Any:
        """``value`` with every ``<name>`` in its texts replaced, at any depth."""
        if isinstance(value, str):
            for name in ("victim", "allowed", "disks", "run", "port"):
                value = value.replace(f"<{name}>", str(getattr(self, name)))
            return value
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.fill(item) for item in value]
        return value

    def path(self, text: str) -> Path:
        """The file that a text with places means."""
        return Path(self.fill(text))


@dataclass(frozen=True)
class Step:
    """One command. A test sends ``arguments`` after ``Place.fill``."""

    command: str
    arguments: dict[str, t.Any] = field(default_factory=dict)
    expect: Expect = "denied"
    #: allow_dangerous is what the policy wants for it, so it is denied only without.
    consent: bool = False


@dataclass(frozen=True)
class Seen:
    """What a bare QEMU did: its replies (a return value, or an error's text) by step, and whether it has ended."""

    place: Place
    replies: list[t.Any]
    refused: list[bool]
    dead: bool
    log: str


#: True when the attack has succeeded on a bare monitor.
Effect = t.Callable[[Seen], bool]
#: Makes what the attack needs; what it makes in ``victim`` must look the same afterwards.
Prepare = t.Callable[[Place], t.Optional[t.Callable[[], None]]]


@dataclass(frozen=True)
class Attack:
    """One attack.

    ``kinds``: kinds and ``guards`` rows of the classification that it is about. ``effect``: how its success shows on a
    bare monitor; a text says why it cannot be shown on this machine. ``blames``: words of which the guard's reason
    must hold one, mostly the field.
    """

    name: str
    kinds: str
    steps: tuple[Step, ...]
    effect: Effect | str
    blames: str = ""
    prepare: Prepare | None = None
    #: Bytes for a bare monitor in place of the steps.
    raw: bytes | None = None

    @property
    def denied(self) -> tuple[Step, ...]:
        """The steps that the guard must refuse."""
        return tuple(step for step in self.steps if step.expect == "denied")


def one(
    name: str, kinds: str, command: str, arguments: dict[str, t.Any], effect: Effect | str, **more: t.Any
) -> Attack:
    """An attack of a single command."""
    step = Step(command, arguments, consent=more.pop("consent", False))
    return Attack(name, kinds, (step,), effect, **more)


# --- effects -----------------------------------------------------------------------------------------------------


#: How QEMU refuses what does not fit its schema: that shows nothing.
_MALFORMED = ("is unexpected", "is missing", "Invalid parameter", "does not accept value", "CommandNotFound")


def accepted(seen: Seen) -> bool:
    """QEMU took every step."""
    return not seen.dead and not any(seen.refused)


def reaches(*words: str) -> Effect:
    """QEMU refused it for want of something in the world, which shows that it went as far as trying."""

    def effect(seen: Seen) -> bool:
        replies = [str(reply) for reply in seen.replies]
        if any(word in reply for reply in replies for word in _MALFORMED):
            return False
        return accepted(seen) or any(word in reply for reply in replies for word in words)

    return effect


def overwritten(*files: str, begins: bytes | None = None) -> Effect:
    """The files no longer hold what they held."""

    def effect(seen: Seen) -> bool:
        texts = [seen.place.path(file).read_bytes() for file in files]
        lost = all(text != ORIGINAL.encode() for text in texts)
        return lost and (begins is None or all(text.startswith(begins) for text in texts))

    return effect


def made(*files: str) -> Effect:
    """The files (or sockets) have come to be."""
    return lambda seen: all(os.path.lexists(seen.place.path(file)) for file in files)


def leaked(file: str) -> Effect:
    """The secret has got into a file."""
    return lambda seen: MARK.encode() in seen.place.path(file).read_bytes()


def told(word: str = MARK) -> Effect:
    """A reply holds ``word``."""
    return lambda seen: any(word in json.dumps(reply) for reply in seen.replies)


def listens(kind: t.Literal["tcp", "udp", "unix"] = "tcp", where: str = "<run>/attack.sock") -> Effect:
    """Somebody answers, or holds, the place's port or socket."""

    def effect(seen: Seen) -> bool:
        if kind == "udp":
            return f":{seen.place.port:04X} " in Path("/proc/net/udp").read_text("ascii")
        family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
        with socket.socket(family) as client:
            client.settimeout(3)
            client.connect(str(seen.place.path(where)) if kind == "unix" else ("127.0.0.1", seen.place.port))
        return True

    return effect


# --- preparations ------------------------------------------------------------------------------------------------


def files(**texts: str | bytes) -> Prepare:
    """Files in the victim's folder; two underscores in a name mean a dot. Everybody may write them."""

    def prepare(place: Place) -> None:
        for name, text in texts.items():
            path = place.victim / name.replace("__", ".")
            path.write_bytes(text.encode() if isinstance(text, str) else text)
            path.chmod(0o666)

    return prepare


def both(*preparations: Prepare) -> Prepare:
    """One after another; what they leave to be undone is undone backwards."""

    def prepare(place: Place) -> t.Callable[[], None]:
        undo = [end for end in [each(place) for each in preparations] if end is not None]

        def clean() -> None:
            for end in reversed(undo):
                end()

        return clean

    return prepare


def unix_listener(where: str) -> Prepare:
    """Somebody listens on a unix socket, as a peer that an attack connects to."""

    def prepare(place: Place) -> t.Callable[[], None]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(place.path(where)))
        listener.listen(4)
        return listener.close

    return prepare


original = files(target=ORIGINAL)
shadow = files(shadow=SECRET)
