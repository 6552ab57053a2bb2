# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run as Ansible runs them, in a process of their own, with all their files in a folder of the test."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout

# ansible-core 2.19 and later ask in which profile the arguments are written; 2.18 does not look. From 2.21 on the
# options are repeated in the result only if the controller asks for that.
DRIVER = """
import importlib, json, os, sys
from ansible.module_utils import basic
from ansible.module_utils.common.parameters import PASS_VARS
from ansible_collections.maqet.qemu.plugins.module_utils.host import paths
where = paths.Layout(*(os.path.join(sys.argv[2], name) for name in "srl"), "user")
paths.layout = lambda: where
given = json.load(sys.stdin)
if "inject_invocation" in PASS_VARS:
    given["ANSIBLE_MODULE_ARGS"]["_ansible_inject_invocation"] = True
basic._ANSIBLE_ARGS = json.dumps(given).encode()
basic._ANSIBLE_PROFILE = "legacy"
importlib.import_module("ansible_collections.maqet.qemu.plugins.modules." + sys.argv[1]).main()
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of a module: all that it printed, and the result in it."""

    words: str
    status: int

    @property
    def result(self) -> dict[str, t.Any]:
        return dict(json.loads(self.words))


class Host:
    """A host with nothing on it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), "user")

    def run(self, module: str, check: bool = False, **options: t.Any) -> Run:
        """Run a module; it never prints anything but its result, whatever happens."""
        arguments = {**options, "_ansible_check_mode": check, "_ansible_no_log": True}  # nothing in this host's syslog
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, module, str(self.folder)],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return Run(done.stdout + done.stderr, done.returncode)

    def files(self) -> list[str]:
        """All that is on the host."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path)
