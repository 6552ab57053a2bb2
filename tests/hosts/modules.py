# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module as Ansible runs it, in a process of its own, without an Ansible that sends it.

For what a test needs before and after what it is about: a controller and the archive that it makes of a module take
ten times as long as the module.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing as t

# ansible-core 2.19 and later ask in which profile the arguments are written; 2.18 does not look. From 2.21 on the
# options are repeated in the result only if the controller asks for that.
_DRIVER = """
import importlib, json, os, sys
from ansible.module_utils import basic
from ansible.module_utils.common.parameters import PASS_VARS
from ansible_collections.maqet.qemu.plugins.module_utils.host import paths
if sys.argv[2:]:
    where = paths.Layout(*sys.argv[2:])
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
        """With its warnings as texts: from ansible-core 2.19 on, it is the controller that makes them so."""
        result = dict(json.loads(self.words))
        warnings = result.get("warnings", [])
        texts = [warning if isinstance(warning, str) else warning["event"]["msg"] for warning in warnings]
        return {**result, "warnings": texts} if texts else result


def run_module(module: str, options: dict[str, t.Any], where: t.Sequence[str] = (), check: bool = False) -> Run:
    """Run a module on this machine; it never prints anything but its result, whatever happens.

    ``where`` are the values of a :class:`Layout`, in place of this machine's.
    """
    with _process(module, where) as child:
        stdout, stderr = child.communicate(_arguments(module, options, check))
    assert "Traceback" not in stderr + stdout, stderr
    return Run(stdout + stderr, child.returncode)


def begin(module: str, options: dict[str, t.Any], prefix: t.Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start a module on this machine, for a test that does not let it end; ``prefix`` stands before its command."""
    child = _process(module, (), prefix)
    assert child.stdin is not None
    with child.stdin as given:
        given.write(_arguments(module, options, False))
    return child


def _arguments(module: str, options: dict[str, t.Any], check: bool) -> str:
    """With no_log, which keeps them out of this host's syslog."""
    hidden = {"_ansible_module_name": f"maqet.qemu.{module}", "_ansible_check_mode": check, "_ansible_no_log": True}
    return json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **hidden}})


def _process(module: str, where: t.Sequence[str], prefix: t.Sequence[str] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", _DRIVER, module, *where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def must(module: str, **options: t.Any) -> dict[str, t.Any]:
    """The result of a module that has to succeed."""
    run = run_module(module, options)
    assert run.status == 0, run.words
    return run.result
