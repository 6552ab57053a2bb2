# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How people look at a VM: its graphics card, and VNC (QEMU manual: -vnc, "VNC security")."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.definition.hidden import HIDDEN
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_console import FIRST_PORT, VIDEOS
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

SERIALS = ("file", "socket", "none")
DISPLAYS = ("none", "headless", "vnc")
VNC_FIELDS = ("password", "address", "port")
VIDEO_WORDS = tuple(dict.fromkeys(word for devices in VIDEOS.values() for word in devices))

# The protocol's own: a key for DES has eight bytes, and what is beyond is ignored without a word.
_PASSWORD = re.compile(r"[\x21-\x7e]{1,8}")
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f.]*")


def vnc(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form: only what was given; an empty dictionary takes a stored one back."""
    given = values.fields(option, value, VNC_FIELDS)
    result: dict[str, t.Any] = {}
    if "password" in given:
        if not isinstance(given["password"], str) or not _PASSWORD.fullmatch(given["password"]):
            raise invalid_option(
                f"{option}.password",
                HIDDEN,
                "is no password for VNC",
                "Give 1 to 8 printable ASCII characters, which is all that the protocol has room for.",
            )
        result["password"] = given["password"]
    if "address" in given:
        remedy = "Give an IPv4 or IPv6 address of the host, such as 127.0.0.1 or ::1."
        result["address"] = values.matching(
            f"{option}.address", given["address"], _ADDRESS, "is not an address", remedy
        ).lower()
    if "port" in given:
        result["port"] = values.whole_number(f"{option}.port", given["port"], FIRST_PORT, 65535)
    return result


def check(intent: t.Mapping[str, t.Any]) -> None:
    """VNC needs the display; a port of the network needs a password, since no file mode guards it."""
    given = intent.get("vnc")
    display = intent.get("display", "none")
    if given and display != "vnc":
        raise invalid_option(
            "vnc", shown(given), f"needs display: vnc, and it is {display}", "Give display: vnc too, or vnc: {}."
        )
    if given and "port" in given and "password" not in given:
        raise invalid_option(
            "vnc.port",
            given["port"],
            "is open to everybody who reaches it without a password",
            "Give vnc.password too, or leave port out for a unix socket.",
        )
    if given and "address" in given and "port" not in given:
        raise invalid_option(
            "vnc.address", given["address"], "says nothing without a port", "Give vnc.port too, or remove it."
        )
    if "video" in intent and display == "none":
        raise invalid_option(
            "video", intent["video"], "needs a display, and it is none", "Give display: headless or vnc, or video: ''."
        )


def shown(given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """VNC's options without the password."""
    return {**given, "password": HIDDEN} if "password" in given else dict(given)
