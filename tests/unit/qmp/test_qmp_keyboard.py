# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and their names, what fits into QEMU's queue, and layouts against QEMU's own keymaps."""

from __future__ import annotations

import re
import string
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import keyboard
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.keyboard_layouts import LAYOUTS, table, translate

PRINTABLE = "".join(map(chr, range(32, 127)))
KEYMAPS = Path("/usr/share/qemu/keymaps")
# Our names of layouts, and QEMU's of the same. Its German one is that without dead keys.
SAME = {"us": "en-us", "gb": "en-gb", "uk": "en-gb", "de-nodeadkeys": "de", "fr": "fr"}
# X11's names of characters (keysymdef.h) that are not the character itself.
KEYSYMS = dict(
    zip(
        "space exclam quotedbl numbersign dollar percent ampersand apostrophe parenleft parenright asterisk plus comma "
        "minus period slash colon semicolon less equal greater question at bracketleft backslash bracketright "
        "asciicircum underscore grave braceleft bar braceright asciitilde".split(),
        string.punctuation.join([" ", ""]),
    )
)


def keymap(name: str) -> dict[str, set[keyboard.Chord]]:
    """What types each character, as QEMU's file says: ``keysym number modifiers`` below a comment with the QKeyCode."""
    if not KEYMAPS.is_dir():
        pytest.skip("QEMU's keymaps are not installed")
    found: dict[str, set[keyboard.Chord]] = {}
    key = ""
    for line in (KEYMAPS / name).read_text("utf-8").splitlines():
        comment = re.match(r'# evdev .*QKeyCode "(\w+)"', line)
        entry = re.fullmatch(r"(\w+) 0x[0-9a-f]+((?: shift| altgr)*)", line)
        if comment:
            key = comment[1]
        elif entry:
            modifiers = tuple({"shift": "shift", "altgr": "alt_r"}[word] for word in entry[2].split())
            found.setdefault(KEYSYMS.get(entry[1], entry[1]), set()).add((*modifiers, key))
    return found


def test_keysyms_are_in_order() -> None:
    assert (KEYSYMS["space"], KEYSYMS["at"], KEYSYMS["asciitilde"], KEYSYMS["bar"]) == (" ", "@", "~", "|")


@pytest.mark.parametrize("layout", SAME)
def test_layouts_are_those_of_qemu(layout: str) -> None:
    theirs = keymap(SAME[layout])
    wrong = {
        character: (table(layout)[character], theirs.get(character))
        for character in PRINTABLE
        if table(layout)[character][0] not in theirs.get(character, ()) or len(table(layout)[character]) != 1
    }
    assert wrong == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_types_all_of_ascii(layout: str) -> None:
    assert set(table(layout)) == {*PRINTABLE, "\n", "\t"}
    used = {key for chords in table(layout).values() for chord in chords for key in chord}
    assert used <= keyboard.NAMES


def test_german_accents_wait_for_a_blank() -> None:
    assert translate("text", "^`", "de") == [("grave_accent",), ("spc",), ("shift", "equal"), ("spc",)]
    assert translate("text", "^`", "de-nodeadkeys") == [("grave_accent",), ("shift", "equal")]


@pytest.mark.parametrize(
    ("layout", "text", "keys"),
    [
        ("us", "aB\n", ["a", "shift-b", "ret"]),
        ("us", "y z\t", ["y", "spc", "z", "tab"]),
        ("de", "yZ@", ["z", "shift-y", "alt_r-q"]),
        ("fr", "aq1&", ["q", "a", "shift-1", "1"]),
        ("gb", '@"#\\', ["shift-apostrophe", "shift-2", "backslash", "less"]),
    ],
)
def test_texts(layout: str, text: str, keys: list[str]) -> None:
    assert translate("text", text, layout) == [tuple(words.split("-")) for words in keys]


@pytest.mark.parametrize(
    ("text", "place", "kind"),
    [("pässword", 2, "not ASCII"), ("a\rb", 2, "a control"), ("ab\x7f", 3, "a control"), ("🔑", 1, "not ASCII")],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_cannot_be_typed_is_refused_and_not_quoted(layout: str, text: str, place: int, kind: str) -> None:
    with pytest.raises(MaqetError) as caught:
        translate("text", text, layout)
    words = str(caught.value)
    assert caught.value.error_code == "invalid_option" and caught.value.details == {"option": "text"}
    assert f"text: character {place} of {len(text)} is {kind}" in words and layout in words
    assert text not in words and text[place - 1] not in words


def test_combinations() -> None:
    assert keyboard.combination("keys[0]", "ctrl-alt-f2") == ("ctrl", "alt", "f2")
    assert keyboard.combination("keys[0]", "ret") == ("ret",)
    assert keyboard.command(("ctrl", "c"), 7) == {
        "execute": "send-key",
        "arguments": {"keys": [{"type": "qcode", "data": "ctrl"}, {"type": "qcode", "data": "c"}], "hold-time": 7},
    }


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("enter", "did you mean ret?"),
        ("Ctrl-c", "did you mean ctrl?"),
        ("ctrl-bracketleft", "did you mean bracket_left?"),
        ("page_up", "did you mean pgup?"),
        ("A", "did you mean shift-a?"),
        ("ctrl--", "the key itself is minus"),
        ("", "the key itself is minus"),
        ("unmapped", "There is no key 'unmapped'"),
        ("ctrl-ctrl", "Name each key of a combination once"),
        ("Ctrl+Alt+F2", "joined by '-', as in ctrl-alt-f2"),
        ("ret\n", "did you mean ret?"),
    ],
)
def test_what_is_no_combination(words: str, remedy: str) -> None:
    with pytest.raises(MaqetError) as caught:
        keyboard.combination("keys[3]", words)
    assert caught.value.error_code == "invalid_option"
    assert str(caught.value).startswith(f"keys[3]: {words!r} ") and remedy in str(caught.value)


def test_a_portion_fits_into_the_queue_of_qemu() -> None:
    """Each press and release is an event, a sync and a pause, and QEMU keeps 1024 of these (ui/input.c)."""
    chords: list[keyboard.Chord] = [("a",), ("shift", "b"), ("ctrl", "alt", "f2")] * 400
    parts = keyboard.portions(chords)
    assert [chord for part in parts for chord in part] == chords
    sizes = [sum(2 * 3 * len(chord) for chord in part) for part in parts]
    assert max(sizes) <= 1024 - 256 and min(sizes[:-1]) > 500, sizes
    assert keyboard.portions([]) == []


def test_an_impossible_combination_is_a_portion_of_its_own() -> None:
    huge = tuple(sorted(keyboard.NAMES))
    assert keyboard.portions([("a",), huge, ("b",)]) == [[("a",)], [huge], [("b",)]]


def test_time() -> None:
    assert keyboard.seconds([("a",), ("shift", "b")], 20) == pytest.approx(0.12)


def refusal(command: str, words: str) -> MaqetError:
    return MaqetError("QEMU refused", "qmp_error", command=command, qmp_desc=words)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (refusal("input-send-event", "VM not running"), "vm_paused", "state=running"),
        (refusal("input-send-event", "Input handler not found for event type key"), "no_keyboard", "display: headless"),
        (refusal("input-send-event", "something else"), "qmp_error", "QEMU refused"),
        (refusal("send-key", "VM not running"), "qmp_error", "QEMU refused"),
        (MaqetError("no", "policy_denied"), "policy_denied", "no"),
    ],
)
def test_what_the_probe_tells(error: MaqetError, code: str, words: str) -> None:
    told: t.Any = keyboard.unheard(error, "web")
    assert told.error_code == code and words in str(told)
    assert told.details == error.details
