# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace for a test: what it makes is seen by nobody else, and gone with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t

import pytest

_BEFORE = """
import json, os, subprocess
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import links, netlink
told = {}
def ip(*words):
    subprocess.run(["ip", *words], check=True)
def refused(function, *arguments):
    try:
        function(*arguments)
    except MaqetError as error:
        return str(error)
"""


def inside(script: str) -> dict[str, t.Any]:
    """What a script puts into ``told``, run by a Python in a namespace of its own, where it is root."""
    if os.geteuid() != 0:
        pytest.skip("only root can open /dev/net/tun everywhere")
    argv = ["unshare", "--net", "--mount", sys.executable, "-c", f"{_BEFORE}\n{script}\nprint(json.dumps(told))"]
    try:
        probe = subprocess.run([*argv[:3], "mount", "-t", "sysfs", "sysfs", "/sys"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if probe.returncode != 0 or not os.path.exists("/dev/net/tun"):
        pytest.skip(f"no namespaces or no taps here: {probe.stderr!r}")
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
