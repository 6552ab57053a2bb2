# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys type a text: keyboards as the guest believes to have them. Pure functions.

A table has three levels (plain, with Shift, with AltGr), each with the characters that the keys of :data:`_KEYS` type
in this order, row by row, ``·`` where that is none of ASCII. The tests compare them with QEMU's own keymaps, which are
made from those of xkeyboard-config.
"""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.keyboard import Chord

# Row by row, as on an American keyboard; less is the key between Shift and z that an American one has not.
_KEYS = """
    grave_accent 1 2 3 4 5 6 7 8 9 0 minus equal
    q w e r t y u i o p bracket_left bracket_right
    a s d f g h j k l semicolon apostrophe backslash
    less z x c v b n m comma dot slash
""".split()
_LEVELS: tuple[Chord, ...] = ((), ("shift",), ("alt_r",))
_NONE = "·"
_SPACES: dict[str, list[Chord]] = {" ": [("spc",)], "\n": [("ret",)], "\t": [("tab",)]}

_DE = (
    "·1234567890·· qwertzuiop·+ asdfghjkl··# <yxcvbnm,.-",
    "·!\"·$%&/()=?· QWERTZUIOP·* ASDFGHJKL··' >YXCVBNM;:_",
    "·······{[]}\\· @··········~ ············ |··········",
)
# The other way to be German: the same keys, but these two wait for the next one to become its accent.
_DE_ACCENTS: dict[str, Chord] = {"^": ("grave_accent",), "`": ("shift", "equal")}
_GB = (
    "`1234567890-= qwertyuiop[] asdfghjkl;'# \\zxcvbnm,./",
    '·!"·$%^&*()_+ QWERTYUIOP{} ASDFGHJKL:@~ |ZXCVBNM<>?',
)
_TABLES: dict[str, tuple[str, ...]] = {
    "us": (
        "`1234567890-= qwertyuiop[] asdfghjkl;'\\ ·zxcvbnm,./",
        '~!@#$%^&*()_+ QWERTYUIOP{} ASDFGHJKL:"| ·ZXCVBNM<>?',
    ),
    "gb": _GB,
    "uk": _GB,
    "de": _DE,
    "de-nodeadkeys": _DE,
    "fr": (
        "·&·\"'(-·_··)= azertyuiop·$ qsdfghjklm·* <wxcvbn,;:!",
        "·1234567890·+ AZERTYUIOP·· QSDFGHJKLM%· >WXCVBN?./·",
        "··~#{[|`\\^@]} ············ ············ ···········",
    ),
}
LAYOUTS = tuple(_TABLES)


@functools.cache
def table(layout: str) -> t.Mapping[str, list[Chord]]:
    """Character to the keys that type it, one combination after another."""
    found = dict(_SPACES)
    for modifiers, characters in zip(_LEVELS, _TABLES[layout]):
        for key, character in zip(_KEYS, characters.replace(" ", "")):
            if character != _NONE:
                found.setdefault(character, [(*modifiers, key)])
    if layout.startswith("de"):
        after = _SPACES[" "] if layout == "de" else []
        found.update({character: [chord, *after] for character, chord in _DE_ACCENTS.items()})
    return found


def translate(option: str, text: str, layout: str) -> list[Chord]:
    """What types ``text``; ``invalid_option`` if something cannot. The error quotes nothing: it may be a password."""
    known = table(layout)
    chords: list[Chord] = []
    for place, character in enumerate(text, 1):
        if character not in known:
            kind = "a control character" if character < " " or character == "\x7f" else "not ASCII"
            raise MaqetError(
                f"{option}: character {place} of {len(text)} is {kind}, and no key of the layout {layout} is sent for "
                "it. Nothing was typed. Leave it out; keys that are no characters are for the option keys.",
                "invalid_option",
                option=option,
            )
        chords += known[character]
    return chords
