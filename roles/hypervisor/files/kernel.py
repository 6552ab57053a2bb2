# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what of the wanted huge pages and module options the kernel does not have: ``python kernel.py PAGES OPTIONS``.

Both as JSON. Answers with JSON: ``hugepages`` (whether another number is wanted) and ``reasons``, sentences on what a
boot would bring. A module that is not loaded will have its options when it is.
"""

from __future__ import annotations

import json
import sys
import typing as t

_PAGES = "/proc/sys/vm/nr_hugepages"
# How the kernel writes booleans (param_get_bool), and how people write them.
_TRUE, _FALSE = ("y", "1", "true"), ("n", "0", "false")


def same(is_now: str, wanted: t.Any) -> bool:
    """Whether a module's parameter has this value."""
    now, want = is_now.strip().lower(), str(wanted).strip().lower()
    return now == want or any(now in words and want in words for words in (_TRUE, _FALSE))


def judge(
    pages: t.Optional[int], options: t.Mapping[str, t.Mapping[str, t.Any]], read: t.Callable[[str], t.Optional[str]]
) -> dict[str, t.Any]:
    """The answer; ``read`` gives the content of a file, or None if there is none."""
    reasons = []
    there = (read(_PAGES) or "").strip()
    other = pages is not None and there != str(pages)
    if other:
        reasons.append(f"huge pages: {pages} are wanted, {there or 'no'} are reserved")
    for module, wanted in options.items():
        for key, value in wanted.items():
            now = read(f"/sys/module/{module}/parameters/{key}")
            if now is not None and not same(now, value):
                reasons.append(f"{module}: {key}={value} is wanted, the loaded module has {now.strip()}")
    return {"hugepages": other, "reasons": reasons}


def content(path: str) -> t.Optional[str]:
    """What is in a file of the kernel's."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


if __name__ == "__main__":
    json.dump(judge(json.loads(sys.argv[1]), json.loads(sys.argv[2]), content), sys.stdout)
