# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML with nothing hidden in it: no doubled keys, no aliases, no types but JSON's.

This file imports nothing of the project: ``yaml_reader.py`` also gives its source to a Python that has PyYAML where
ours has none.
"""

from __future__ import annotations

import json
import sys
import typing as t

#: Parts (keys, values, beginnings and ends of lists and dictionaries) of one document.
MAX_PARTS = 50_000
#: Lists and dictionaries inside each other.
MAX_DEPTH = 32


def load(data: bytes) -> t.Any:
    """The one document in ``data``. ValueError says in words what is wrong and where; ImportError: no PyYAML."""
    import yaml

    base: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """The safe loader, with every key in its place once."""

    def mapping(loader: t.Any, node: t.Any) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            merges = key_node.tag == "tag:yaml.org,2002:merge"
            key = None if merges else loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ValueError(f"line {line}: the key {key_node.value!r:.60} is no plain text; write it in quotes")
            if key in found:
                raise ValueError(f"line {line}: the key {key!r:.60} stands there a second time; keep one of them")
            found[key] = loader.construct_object(value_node, deep=True)
        return found

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    try:
        text = data.decode("utf-8")
        _measure(yaml.parse(text, Loader=base))
        value = yaml.load(text, Loader=Loader)  # noqa: S506  # a safe loader's child
        json.dumps(value, allow_nan=False)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{_place(error)}it is not YAML: {_words(error)}") from None
    except TypeError as error:  # a date, bytes, a set
        raise ValueError(f"it holds a value that YAML makes a {str(error).split()[3]} of; write it in quotes") from None
    except ArithmeticError as error:  # a date or a number to the base of 60, out of all bounds
        raise ValueError(f"it holds a date or a number that cannot be ({error}); write it in quotes") from None
    return value


def _place(error: t.Any) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}: " if mark is not None else ""


def _words(error: t.Any) -> str:
    """PyYAML's words without its quotation of the text, which callers without any role would see too."""
    said = [str(getattr(error, part, None) or "") for part in ("context", "problem", "reason")]
    return " ".join(", ".join(filter(None, said)).split())[:200] or type(error).__name__


def _measure(events: t.Iterable[t.Any]) -> None:
    """Refuse what could grow while it is read, or is made by a tag. One event at a time: no depth of ours."""
    depth = -2  # the stream and the document are no levels
    for number, event in enumerate(events):
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        line = event.start_mark.line + 1 if event.start_mark else 1
        if kind == "AliasEvent":
            raise ValueError(f"line {line}: it has an alias (*{event.anchor}); write the values out")
        if getattr(event, "tag", None) is not None:  # PyYAML takes it at its word, and fails in its own ways
            raise ValueError(f"line {line}: it has a tag ({event.tag!r:.60}); leave tags out, and quote texts")
        if number > MAX_PARTS or depth > MAX_DEPTH:
            raise ValueError(f"line {line}: it has more than {MAX_PARTS} parts, or {MAX_DEPTH} levels; make it smaller")


def main() -> None:
    """YAML on stdin, ``{"value"}`` or ``{"error"}`` as JSON on stdout."""
    try:
        answer = {"value": load(sys.stdin.buffer.read())}
    except ValueError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)
