# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls ``host/systemd.py`` on a test host, as whoever runs this: a JSON list of calls in, a list of answers out.

    python3 drive.py SOURCES '[["start", "web", 10], ["enabled", "web"]]'

A call is the name of a method of ``Manager``, a VM's name, and further arguments. Besides, ``manager`` says whether
there is one, ``advice`` and ``text`` are the functions of that name, and ``prepare`` makes the VM's folders and its
``runner.env`` as a launch does.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, paths, systemd, unit_text


def prepare(where: paths.Layout, name: str, runner: str, config: str, behaviour: str) -> None:
    """What is on the host before a runner's unit is started."""
    vm = where.vm(name)
    for folder in (vm.home, vm.run, vm.log):
        files.make_folder(folder)
    values = (sys.executable, runner, where.state, where.run, where.log, where.scope, config)
    env = unit_text.env_file(dict(zip(unit_text.VARIABLES, values)))
    files.write_atomic(os.path.join(vm.home, "runner.env"), env.encode())
    Path(vm.home, "behaviour").write_text(behaviour, "utf-8")


def answer(where: paths.Layout, call: str, name: str = "", *arguments: t.Any) -> t.Any:
    manager = systemd.manager_of(where)
    if call == "manager":
        return manager and dataclasses.asdict(manager)["folder"]
    if call == "advice":
        return systemd.advice(where)
    if call == "text":
        return unit_text.unit_text(where)
    if call == "prepare":
        return prepare(where, name, *arguments)
    if manager is None:
        return {"error": "there is no manager", "error_code": "no_manager"}
    try:
        return getattr(manager, call)(*([where.vm(name)] if name else []), *arguments)
    except MaqetError as error:
        return {"error": str(error), "error_code": error.error_code}


if __name__ == "__main__":
    here = paths.layout()
    sys.stdout.write(json.dumps([answer(here, *call) for call in json.loads(sys.argv[2])]))
