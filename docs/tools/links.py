# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links that lead nowhere: in the pages of the built site, and in the Markdown files of the repository.

What is on the net is not called: the site is built without it. Of such an address only the form is checked.
"""

from __future__ import annotations

import html.parser
import re
import subprocess
import sys
import typing as t
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT: t.Final = Path(__file__).resolve().parents[2]

_MARKDOWN: t.Final = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HOST: t.Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE)


class Page(html.parser.HTMLParser):
    """What a page can be asked for by ``#…``, and where it leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag by the parser."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif (name == "href" and tag in ("a", "link")) or name == "src":
                self.targets.append(value)


def external_problem(target: str) -> str | None:
    """What is wrong with the form of an address on the net; None if nothing is."""
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https", "mailto"):
        return f"unknown scheme in {target}"
    if parts.scheme != "mailto" and not _HOST.fullmatch(parts.hostname or ""):
        return f"no host in {target}"
    return f"blank or quote in {target}" if re.search(r"[\s\"'<>`]", target) else None


def site_problems(folder: Path) -> tuple[int, list[str]]:
    """Number of links in the HTML pages of a folder, and what is wrong with them."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    count, problems = 0, []
    for path, page in pages.items():
        for target in page.targets:
            count += 1
            problem = _page_problem(path, target, pages)
            if problem:
                problems.append(f"{path.relative_to(folder)}: {problem}")
    return count, problems


def _page_problem(path: Path, target: str, pages: t.Mapping[Path, Page]) -> str | None:
    if re.match(r"data:|[a-z]+:|//", target):
        return None if target.startswith("data:") else external_problem(target)
    name, _hash, anchor = unquote(target).partition("#")
    led_to = (path.parent / name.partition("?")[0]).resolve() if name else path
    if not led_to.exists():
        return f"no such file: {target}"
    # "#" alone is the head of a page, and what scripts use for what is no place.
    if anchor and led_to in pages and anchor not in pages[led_to].anchors:
        return f"no such place: {target}"
    return None


def markdown_problems(root: Path, names: t.Iterable[str]) -> tuple[int, list[str]]:
    """The same of Markdown files, given by their names below ``root``."""
    count, problems = 0, []
    for name in names:
        for found in _MARKDOWN.finditer((root / name).read_text("utf-8")):
            target = found["target"]
            count += 1
            if "://" in target:
                problem = external_problem(target)
            else:
                file, _hash, anchor = target.partition("#")
                led_to = (root / name).parent / file if file else root / name
                problem = None if led_to.exists() else f"no such file: {target}"
                if anchor and not problem and anchor not in _headings(led_to):
                    problem = f"no such heading: {target}"
            if problem:
                problems.append(f"{name}: {problem}")
    return count, problems


def _headings(path: Path) -> set[str]:
    """Anchors that forges make of the headings of a Markdown file."""
    titles = re.findall(r"^#+ +(.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def main(folder: str) -> int:
    """Print what is wrong; 1 if anything is."""
    site, problems = site_problems(Path(folder).resolve())
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    files, more = markdown_problems(ROOT, listed.split())
    for problem in (*problems, *more):
        print(problem)
    print(f"links: {site} in pages of the site, {files} in Markdown files, {len(problems) + len(more)} lead nowhere")
    return int(bool(problems or more))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
