# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TPM of a VM: swtpm(8) as a helper of QEMU, as QEMU's user, with its state in the VM's home."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import tpm
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner import premises
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Crew
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened

KIND = "tpm"


def start(
    wanted: t.Optional[t.Mapping[str, t.Any]],
    paths: VmPaths,
    crew: Crew,
    opened: Opened,
    uid: t.Optional[int],
) -> t.Optional[int]:
    """QEMU's end of the socket to it, which it inherits; None for a VM without a TPM."""
    if wanted is None:
        return None
    binary = tpm.find_swtpm()
    premises.own_folder(paths, paths.tpm, uid)
    ours, theirs = opened.pair()
    folder = os.path.relpath(paths.tpm, paths.output)  # where it starts; swtpm cannot be told of a path with commas
    crew.start(KIND, command_line(binary, wanted["version"], folder, theirs), (theirs,))
    return ours


def command_line(binary: str, version: str, folder: str, descriptor: int) -> list[str]:
    """It ends with the connection over which QEMU sends it the guest's commands."""
    kind = ["--tpm2"] if version == "2.0" else []
    control, state = f"type=unixio,clientfd={descriptor}", f"dir={folder},mode=0600"
    return [binary, "socket", *kind, "--ctrl", control, "--tpmstate", state, "--terminate"]
