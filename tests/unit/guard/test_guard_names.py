# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import MAX_LENGTH, NAME, check_name, is_name
from hypothesis import given
from hypothesis import strategies as st

ACCEPTED = """
    query-status send-key device_add system_powerdown screendump blockdev-add netdev_add a query-block-jobs x-query-roms
    __com.redhat_query-thing __org.qemu-project_x-thing qmp_capabilities x-x x-
""".split()

REFUSED = [
    "",
    "Query-Status",
    "QUIT",
    "query status",
    " quit",
    "quit ",
    "quit; rm -rf /",
    "quit && ls",
    "$(id)",
    "`id`",
    "../quit",
    "quit|cat",
    "quit\n",
    "quit\nstop",
    "\nquit",
    "quit\r",
    "quit\x00",
    "quit\x00stop",
    "qu\u00ed",
    "\uff51uit",
    "quit\u200b",
    "quit\u2028",
    "a" * 300,
    "a" * (MAX_LENGTH + 1),
    "1quit",
    "-quit",
    "_quit",
    "__quit",
    "quit'",
    '{"execute":"quit"}',
    None,
    7,
    True,
    ["quit"],
    {"execute": "quit"},
    b"quit",
]


@pytest.mark.parametrize("name", [*ACCEPTED, "a" * MAX_LENGTH])
def test_accepted(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: ascii(value)[:40])
def test_refused_with_a_sentence_that_is_safe_to_print(value: object) -> None:
    with pytest.raises(MaqetError) as caught:
        check_name(value)
    error = caught.value
    assert error.error_code == "invalid_command"
    assert error.details["remedy"] in str(error)
    assert error.details["command"] in str(error)
    assert len(error.details["command"]) <= 60
    assert str(error).isascii() and str(error).isprintable()


@pytest.mark.parametrize(
    ("value", "text"),
    [("quit\n", r"'quit\n'"), ("qu\u00edt", r"'qu\xedt'"), ("a" * 300, "(300 characters)"), (7, "type int")],
)
def test_the_sentence_names_the_value(value: object, text: str) -> None:
    with pytest.raises(MaqetError) as caught:
        check_name(value)
    assert text in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    if is_name(text):
        assert set(text) <= allowed and 0 < len(text) <= MAX_LENGTH
        assert check_name(text) == text
    else:
        with pytest.raises(MaqetError):
            check_name(text)


@given(st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) <= MAX_LENGTH), st.characters())
def test_one_foreign_character_behind_a_name_is_refused(name: str, char: str) -> None:
    assert is_name(name)
    if char not in "abcdefghijklmnopqrstuvwxyz0123456789-_.":
        assert not is_name(name + char)
        assert not is_name(char + name)
