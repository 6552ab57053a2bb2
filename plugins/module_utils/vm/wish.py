# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of one VM to what is asked of it, and to what may be shown of them."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.hidden import hide
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.seed import shown
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import wait_for
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import tighten
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience


def desired(params: t.Mapping[str, t.Any]) -> Desired:
    """What options of one VM ask for, checked without a look at the host. Each of the spec is there, or None."""
    for option in ("timeout", "stop_timeout"):
        if params[option] < 0:
            raise invalid_option(option, params[option], "is no time to wait", "Give seconds, 0 or more")
    given = normalise(params)
    if "policy" in given:
        tighten("vm", given["policy"])
    return Desired(
        name=check_vm_name(params["name"]),
        state=params["state"],
        given=given,
        patience=Patience(params["stop_timeout"], params["force"], params["timeout"]),
        allow_restart=params["allow_restart"],
        purge=params["purge"],
        upgrade=params["runner"] == "upgrade",
        waits=wait_for(params["wait_for"]),
    )


def concealed(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Those of the options that hold secrets, as they may be shown."""
    seed, console = params.get("cloud_init"), params.get("vnc")
    found = {} if seed is None else {"cloud_init": shown(seed)}
    if console is not None:
        found["vnc"] = hide({"vnc": console})["vnc"]
    return found
