# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual processors: how many, how they are arranged, and what they can do (QEMU manual: -smp, -cpu)."""

from __future__ import annotations

import math
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import defaults, values
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_board import LEVELS
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

MAX_CPUS = 4096

_FEATURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_FEATURE_VALUE = re.compile(r"[A-Za-z0-9_.+-]{1,128}")


def count(option: str, value: t.Any) -> int:
    """A number of processors."""
    return values.whole_number(option, value, 1, MAX_CPUS)


def most(option: str, value: t.Any) -> t.Any:
    """The same, or 0, which takes a stored one back."""
    return values.whole_number(option, value, 0, MAX_CPUS) or ""


def topology(option: str, value: t.Any) -> dict[str, int]:
    """How the processors are arranged; the keys come out in the order of ``LEVELS``. An empty one is QEMU's."""
    given = values.fields(option, value, LEVELS)
    return {level: count(f"{option}.{level}", given[level]) for level in LEVELS if level in given}


def features(option: str, value: t.Any) -> dict[str, t.Any]:
    """Features by name, sorted: true, false, a whole number or a word. Names with '_' and '-' are the same to QEMU."""
    if not isinstance(value, t.Mapping):
        raise invalid_option(option, value, "is not a dictionary", "Give a dictionary, such as {vmx: false}.")
    result: dict[str, t.Any] = {}
    for key, content in value.items():
        remedy = "Give the name of a feature or property that QEMU's -cpu takes, such as vmx."
        name = values.matching(option, key, _FEATURE, "is not the name of a feature", remedy).replace("_", "-")
        if name in result:
            raise invalid_option(f"{option}.{key}", content, "is there twice", "Remove one of them.")
        result[name] = _feature(f"{option}.{key}", content)
    return dict(sorted(result.items()))


def _feature(option: str, value: t.Any) -> t.Any:
    if isinstance(value, (bool, int)):
        return value
    remedy = "Give true, false, a whole number or a word."
    word = values.matching(option, value, _FEATURE_VALUE, "is no value for a feature", remedy)
    return {"on": True, "off": False}.get(word, word)


def check(intent: t.Mapping[str, t.Any]) -> None:
    """What these options mean for each other."""
    cpus = intent.get("cpus", defaults.DEFAULTS["cpus"])
    highest = intent.get("cpus_max", cpus)
    if highest < cpus:
        raise invalid_option(
            "cpus_max", highest, f"is less than cpus, which is {cpus}", f"Give {cpus} or more, or lower cpus."
        )
    _check_topology(intent, highest)
    named = {_plain(word) for word in intent.get("cpu_model", "").split(",")[1:]}
    for name, value in intent.get("cpu_features", {}).items():
        if name in named:
            raise invalid_option(
                f"cpu_features.{name}", value, "is in cpu_model too", "Name each feature in one of the two."
            )


def _check_topology(intent: t.Mapping[str, t.Any], highest: int) -> None:
    arranged = intent.get("cpu_topology")
    if not arranged:
        return
    product = math.prod(arranged.values())
    if product == highest or ("sockets" not in arranged and highest % product == 0):
        return
    option = "cpus_max" if "cpus_max" in intent else "cpus"
    shape = " * ".join(f"{number} {level}" for level, number in arranged.items())
    raise invalid_option(
        "cpu_topology",
        arranged,
        f"makes {shape} = {product} processors, and {option} is {highest}",
        f"Give {option}: {product}, or numbers whose product is {highest}.",
    )


def _plain(word: str) -> str:
    return word.lstrip("+-").split("=", 1)[0].replace("_", "-")
