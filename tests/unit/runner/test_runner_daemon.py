# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runner does to itself before it begins."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# The lowest capability, CAP_CHOWN, is made inheritable first, as all are in some containers.
PROGRAM = """
import ctypes
from ansible_collections.maqet.qemu.plugins.module_utils.runner import daemon
libc = ctypes.CDLL(None)
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capget(header, sets) == 0
sets[2] = 1
assert libc.capset(header, sets) == 0
def inherited():
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapInh"))
before = inherited()
daemon._pass_on_nothing()
print(int(before, 16), int(inherited(), 16))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to pass on")
def test_it_passes_no_capabilities_on() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before & 1 == 1 and after == 0
