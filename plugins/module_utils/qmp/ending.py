# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a QEMU ended, from what it left: its exit status, its last events, its last words. Nothing is touched here.

``reason`` is QEMU's own word where it said one (ShutdownCause in its QMP reference), with these besides:

==================  ================================================================================
``host-powerdown``  the guest powered off after its power button was pressed from the host
``signal``          a signal ended QEMU before it could say a word: SIGKILL, a crash, want of memory
``qemu-error``      QEMU gave up by itself; ``words`` are what it said last
``host-down``       the host went down, or lost power, while the VM ran
``unknown``         it ended without a word, and no runner was there to see how
==================  ================================================================================
"""

from __future__ import annotations

import dataclasses
import signal
import typing as t

Event = t.Mapping[str, t.Any]

#: RunStates of a guest that has no CPU left which could notice a power button.
DEAD = ("guest-panicked", "internal-error", "io-error", "shutdown")
# Somebody on this host wanted it so: such a VM is not started again by itself.
_WANTED = ("host-qmp-quit", "host-powerdown", "host-signal", "host-ui")
# The guest wanted it so.
_GUEST = ("guest-shutdown", "guest-reset", "host-qmp-system-reset", "subsystem-reset", "snapshot-load")
_SENTENCES = {
    "guest-shutdown": "the guest powered itself off",
    "guest-reset": "the guest reset itself, and reboot_action is shutdown",
    "guest-panic": "the guest's kernel panicked",
    "host-powerdown": "the guest powered off when its power button was pressed from the host",
    "host-qmp-quit": "QEMU was told to quit by a QMP command",
    "host-qmp-system-reset": "the VM was reset by a QMP command, and reboot_action is shutdown",
    "host-signal": "QEMU was asked to end by a signal",
    "host-ui": "QEMU was closed at its display",
    "host-error": "QEMU met an error on the host",
    "host-down": "the host went down while the VM ran",
    "unknown": "QEMU ended without a word, and nobody was told how",
}


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of one QEMU. ``status``: as wait(2) had it, None where only its parent was told."""

    reason: str
    detail: str
    status: t.Optional[int] = None
    signal: t.Optional[int] = None
    panic: t.Optional[t.Mapping[str, t.Any]] = None
    words: str = ""

    @property
    def wanted(self) -> bool:
        """Whether somebody on the host asked for it."""
        return self.reason in _WANTED

    @property
    def failed(self) -> bool:
        """Whether neither the host nor the guest asked for it."""
        return self.reason not in _WANTED + _GUEST or self.status not in (0, None)

    def as_dict(self) -> dict[str, t.Any]:
        """As it is kept and returned; what does not apply is left out, but the status."""
        kept = {key: value for key, value in dataclasses.asdict(self).items() if value not in (None, "")}
        return {"status": self.status, **kept}


def explain(status: t.Optional[int], events: t.Sequence[Event], words: str) -> Ending:
    """What ended a QEMU. ``status`` is None where nobody was told; ``words`` are the end of its log."""
    said = _last(events, "SHUTDOWN")
    number = -status if status is not None and status < 0 else None
    panic = _last(events, "GUEST_PANICKED")
    if said is not None:
        reason = str(said.get("reason") or ("guest-shutdown" if said.get("guest") else "unknown"))
        if reason == "guest-shutdown" and _asked(events):
            reason = "host-powerdown"
        if reason == "guest-shutdown" and panic is not None and panic.get("action") == "poweroff":
            reason = "guest-panic"
    elif number is not None:
        reason = "signal"
    elif status:
        reason = "qemu-error"
    else:
        reason = "unknown"
    shown = panic if reason == "guest-panic" else None
    return Ending(reason, _sentence(reason, status, number, words), status, number, shown, words)


def host_down() -> Ending:
    """The end of a VM that ran in an earlier boot of the host."""
    return Ending("host-down", _SENTENCES["host-down"])


def _sentence(reason: str, status: t.Optional[int], number: t.Optional[int], words: str) -> str:
    if reason == "signal":
        return f"QEMU was ended by signal {number} ({_name(number)})"
    if reason == "qemu-error":
        return f"QEMU ended with status {status}; its last words: {words.strip() or '(none)'}"
    text = _SENTENCES.get(reason, reason)
    if reason == "host-signal" and words:
        return f"{text}: {words.strip().splitlines()[-1]}"
    return text if not number else f"{text}; then signal {number} ({_name(number)}) ended QEMU"


def _name(number: t.Optional[int]) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return "unknown"


def _last(events: t.Sequence[Event], name: str) -> t.Optional[t.Mapping[str, t.Any]]:
    found = [event.get("data") or {} for event in events if event.get("event") == name]
    return found[-1] if found else None


def _asked(events: t.Sequence[Event]) -> bool:
    """Whether the power button was pressed, and the guest has not been reset since."""
    pressed = False
    for event in events:
        if event.get("event") == "POWERDOWN":
            pressed = True
        elif event.get("event") == "RESET":
            pressed = False
    return pressed
