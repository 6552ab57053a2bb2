# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys as QEMU names them, and how many of them it can take at a time. Pure functions.

``send-key`` returns at once: QEMU puts the keys into a queue and takes them out at the pace of ``hold-time``, one
pause after each press and one after each release. What does not fit into the queue is dropped without a word, and so
is what comes while the machine does not run or has no keyboard (QEMU, ui/input.c). ``input-send-event`` does say
those two things, so :data:`PROBE` goes first.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.guard.nearest import nearest

#: Keys that are pressed together, in this order, and released in the other.
Chord = t.Tuple[str, ...]

#: QKeyCode of QEMU's qapi/ui.json up to 10.0 (f13 to f24 since 8.0), without ``unmapped``, which is no key.
NAMES = frozenset(
    """
    shift shift_r alt alt_r ctrl ctrl_r menu esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p
    bracket_left bracket_right ret a s d f g h j k l semicolon apostrophe grave_accent backslash z x c v b n m comma
    dot slash asterisk spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19 f20 f21 f22
    f23 f24 num_lock scroll_lock kp_divide kp_multiply kp_subtract kp_add kp_enter kp_decimal kp_0 kp_1 kp_2 kp_3 kp_4
    kp_5 kp_6 kp_7 kp_8 kp_9 kp_comma kp_equals sysrq less print home pgup pgdn end left up down right insert delete
    stop again props undo front copy open paste find cut lf help meta_l meta_r compose pause ro hiragana henkan yen
    muhenkan katakanahiragana power sleep wake audionext audioprev audiostop audioplay audiomute volumeup volumedown
    mediaselect mail calculator computer ac_home ac_back ac_forward ac_refresh ac_bookmarks lang1 lang2
    """.split()
)
# What people call a key that has another name here, too far from it to be found by comparing letters.
_MEANT = {
    "enter": "ret",
    "return": "ret",
    "space": "spc",
    "escape": "esc",
    "control": "ctrl",
    "strg": "ctrl",
    "altgr": "alt_r",
    "del": "delete",
    "entf": "delete",
    "ins": "insert",
    "win": "meta_l",
    "super": "meta_l",
    "meta": "meta_l",
    "cmd": "meta_l",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "period": "dot",
    "printscreen": "print",
    "capslock": "caps_lock",
}
# Items of QEMU's queue, which holds 1024: a press or a release and its sync are two, the pause after them is one.
_ITEMS = 3
# So many of them are sent at once: what others have in the queue must find room too.
_ROOM = 600
#: A release of no key. QEMU refuses it if there is no keyboard, or if the machine does not run.
PROBE: t.Mapping[str, t.Any] = {
    "execute": "input-send-event",
    "arguments": {
        "events": [{"type": "key", "data": {"down": False, "key": {"type": "qcode", "data": "unmapped"}}}],
    },
}


def combination(option: str, words: str) -> Chord:
    """The keys of ``ctrl-alt-f2``; ``invalid_option`` if one is none, or is there twice."""
    keys = tuple(words.split("-"))
    for key in keys:
        if key not in NAMES:
            raise invalid_option(option, words, "cannot be pressed", f"{_no_key(key)} (QEMU's QKeyCode)")
    if len(set(keys)) < len(keys):
        raise invalid_option(option, words, "presses a key twice", "Name each key of a combination once")
    return keys


def _no_key(key: str) -> str:
    if "+" in key:
        return f"Keys are joined by '-', as in {key.replace('+', '-').lower()}"
    if not key:
        return "A '-' stands between the names of two keys; the key itself is minus"
    if len(key) == 1 and key.isascii() and key.isupper():
        return f"There is no key {key!r}: did you mean shift-{key.lower()}?"
    plain = key.lower().replace("_", "").replace(" ", "")
    meant = _MEANT.get(plain) or nearest(key, NAMES)
    return f"There is no key {key!r}" + (f": did you mean {meant}?" if meant else ".")


def command(chord: Chord, hold: int) -> dict[str, t.Any]:
    """The QMP command that presses and releases keys, with ``hold`` milliseconds after each press and release."""
    keys = [{"type": "qcode", "data": key} for key in chord]
    return {"execute": "send-key", "arguments": {"keys": keys, "hold-time": hold}}


def seconds(chords: t.Iterable[Chord], hold: int) -> float:
    """How long QEMU takes to type them: two pauses for each key."""
    return sum(2 * len(chord) for chord in chords) * hold / 1000


def portions(chords: t.Iterable[Chord]) -> list[list[Chord]]:
    """The same in pieces that QEMU's queue can take."""
    result: list[list[Chord]] = []
    room = 0
    for chord in chords:
        items = 2 * _ITEMS * len(chord)
        if items > room:
            result.append([])
            room = _ROOM
        result[-1].append(chord)
        room -= items
    return result


def unheard(error: MaqetError, name: str) -> MaqetError:
    """What QEMU's refusal of :data:`PROBE` means in words; another error as it is."""
    words = str(error.details.get("qmp_desc", ""))
    if error.error_code != "qmp_error" or error.details.get("command") != PROBE["execute"]:
        return error
    if "not running" in words:
        return paused(name, **error.details)
    if "handler not found" in words:
        return MaqetError(
            f"VM {name} has no keyboard. On aarch64 it has one with 'display: headless' or 'display: vnc' of maqet_vm.",
            "no_keyboard",
            **error.details,
        )
    return error


def paused(name: str, **details: t.Any) -> MaqetError:
    """A machine that does not run hears no key."""
    return MaqetError(
        f"VM {name} is not running but paused, and QEMU drops what is typed then. Let it go on with maqet_vm: "
        "state=running.",
        "vm_paused",
        **details,
    )
