# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML read strictly: what a browser would silently mend is an error here."""

from __future__ import annotations

import dataclasses
import typing as t
from html.parser import HTMLParser

_VOID = frozenset({"meta", "input", "rect", "line"})
#: All that a report is made of; anything else got in from outside.
_KNOWN = frozenset(
    "html head meta title style body header h1 h2 p ul li b main section div table thead tbody tr th td span small "
    "code pre details summary form input select option button output svg g rect line script".split()
)


@dataclasses.dataclass
class Node:
    """One element."""

    tag: str
    attributes: dict[str, str]
    parts: list[Node | str] = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def all(self, tag: str) -> list[Node]:
        """The elements in it with that tag, in order."""
        found: list[Node] = []
        for part in self.parts:
            if isinstance(part, Node):
                found += [part] if part.tag == tag else []
                found += part.all(tag)
        return found

    def one(self, **attributes: str) -> Node:
        """The only element in it with these attributes."""
        (found,) = (node for node in self._nodes() if attributes.items() <= node.attributes.items())
        return found

    def _nodes(self) -> t.Iterator[Node]:
        for part in self.parts:
            if isinstance(part, Node):
                yield part
                yield from part._nodes()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # html.parser makes names small, but the attributes of SVG are not.
        assert tag in (_KNOWN if self.open[-1].tag != "g" else _KNOWN | {"title"}), tag
        names = [name for name, _value in attrs]
        assert len(set(names)) == len(names) and not any(name.startswith("on") or name == "style" for name in names)
        assert not {"src", "href", "action", "srcset", "background"} & set(names), "nothing is fetched from anywhere"
        assert all(value is not None for _name, value in attrs)
        node = Node(tag, {name: str(value) for name, value in attrs})
        self.open[-1].parts.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"{tag} ends itself")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        assert decl == "DOCTYPE html" and not self.open[-1].parts

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def read(text: str) -> Node:
    """The ``html`` element of a page. AssertionError when it is not well-formed, or holds what a report may not."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    (root,) = reader.open
    (page,) = (part for part in root.parts if isinstance(part, Node))
    assert page.tag == "html"
    return page
