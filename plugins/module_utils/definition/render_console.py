# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Graphics card and VNC on the command line (QEMU manual: -vnc)."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.networks import LOOPBACK
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import option_string

VIDEO = "maqet-video"
VNC_SECRET = "maqet-vnc-password"
# QEMU counts displays from this port on.
FIRST_PORT = 5900

# The devices behind the words, by architecture; the first is the default. Arm's board has no VGA.
VIDEOS: dict[str, dict[str, str]] = {
    "x86_64": {
        "vga": "VGA",
        "virtio": "virtio-vga",
        "qxl": "qxl-vga",
        "cirrus": "cirrus-vga",
        "bochs": "bochs-display",
    },
    "aarch64": {"virtio": "virtio-gpu-pci", "ramfb": "ramfb"},
}


def listen(wanted: t.Mapping[str, t.Any]) -> t.Optional[tuple[str, int]]:
    """The address and port that VNC takes from the network; None for a unix socket, or if there is no VNC."""
    if wanted["display"] != "vnc" or "port" not in wanted["vnc"]:
        return None
    return wanted["vnc"].get("address", LOOPBACK), wanted["vnc"]["port"]


def vnc_arguments(wanted: t.Mapping[str, t.Any], socket: str, password: t.Optional[str]) -> list[str]:
    """``password`` is the name of a file that holds it, which QEMU reads once: it never stands in an argument."""
    if wanted["display"] != "vnc":
        return []
    where, arguments, properties = f"unix:{socket}", [], []
    net = listen(wanted)
    if net is not None:
        host = f"[{net[0]}]" if ":" in net[0] else net[0]
        where = f"{host}:{net[1] - FIRST_PORT}"
    if password is not None:
        arguments = ["-object", option_string("secret", [("id", VNC_SECRET), ("file", password)])]
        properties = [("password-secret", VNC_SECRET)]
    return [*arguments, "-vnc", option_string(where, properties)]


def video_device(wanted: t.Mapping[str, t.Any]) -> str:
    """QEMU's name for the graphics card."""
    devices = VIDEOS[wanted["arch"]]
    return devices[wanted["video"] or next(iter(devices))]
