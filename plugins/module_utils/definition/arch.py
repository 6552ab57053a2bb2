# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only guests of one architecture have. Asked with all defaults known, since the host decides some of them."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_console import VIDEOS
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option


def check(wanted: t.Mapping[str, t.Any]) -> None:
    """Refuse what the board of this guest does not have; QEMU would ignore some of it without a word."""
    arch = wanted["arch"]
    if wanted["video"] and wanted["video"] not in VIDEOS[arch]:
        raise _refusal("video", wanted["video"], arch, f"Choose one of: {', '.join(VIDEOS[arch])}.")
    if arch == "x86_64":
        return
    if "dies" in wanted["cpu_topology"]:
        raise _refusal("cpu_topology.dies", wanted["cpu_topology"]["dies"], arch, "Use sockets, cores and threads.")
    if (wanted["cpus_max"] or 0) > wanted["cpus"]:
        raise _refusal("cpus_max", wanted["cpus_max"], arch, "Processors cannot be plugged into it: use cpus alone.")
    if wanted["clock"].get("driftfix", "none") != "none":
        raise _refusal("clock.driftfix", wanted["clock"]["driftfix"], arch, "Remove it.")
    if wanted["watchdog"].get("model") == "ib700":
        raise _refusal("watchdog.model", "ib700", arch, "Use i6300esb.")


def _refusal(option: str, value: t.Any, arch: str, remedy: str) -> Exception:
    return invalid_option(option, value, f"is not on the board of {arch} guests", remedy)
