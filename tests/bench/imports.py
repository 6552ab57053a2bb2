# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a maqet_qmp task carries to the host, and what Python does before the module can begin.

Ansible leaves the archives that it makes of maqet_qmp and of ping on the host (``ANSIBLE_KEEP_REMOTE_FILES``), and they
are what is measured: there are no compiled files in them, so that an import from them costs more than from a folder.
"""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import time
import typing as t
import zipfile
from pathlib import Path

from ansible_collections.maqet.qemu.tests.bench import figures
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.playbooks import ping, task
from ansible_collections.maqet.qemu.tests.bench.room import Room

KEYS: t.Final = ("import_ms", "payload_vs_ping", "process_ms")
_MODULES: t.Final = {
    "ping": "ansible.modules.ping",
    "maqet_qmp": "ansible_collections.maqet.qemu.plugins.modules.maqet_qmp",
}
_PROBE: t.Final = """
import json, sys, time, types
sys.path.insert(0, sys.argv[1])
sys.modules["__main__"].__spec__ = types.SimpleNamespace(name=sys.argv[2])  # as where Ansible runs it
import ansible.module_utils.basic  # which every module has, and its wrapper imports first
begun, before = time.perf_counter(), set(sys.modules)
__import__(sys.argv[2])
spent = time.perf_counter() - begun
print(json.dumps([spent, len(set(sys.modules) - before)]))
"""


def measure(room: Room) -> list[Figure]:
    """``import_ms``: each import in a new interpreter, in turns. ``process_ms``: whole processes, as Ansible runs them.

    What a ping task imports is what an empty module does.
    """
    (name,) = room.names(1)
    with room.vms([name]):
        found = payloads(room, name)
        archives = {module: _archive(room.folder, module, path) for module, path in found.items()}
        imports: dict[str, list[float]] = {module: [] for module in found}
        processes: dict[str, list[float]] = {module: [] for module in found}
        count = {}
        for _turn in range(room.count(41, 2)):
            for module, path in found.items():
                spent, count[module] = _imported(archives[module], _MODULES[module])
                imports[module].append(spent)
                processes[module].append(_run(path))
    sizes = {module: path.stat().st_size for module, path in found.items()}
    above = figures.above(imports["maqet_qmp"], imports["ping"])
    whole = figures.above(processes["maqet_qmp"], processes["ping"])
    detail = {f"{module}_ms": figures.median_of(spent, 1e3) for module, spent in imports.items()}
    return [
        figures.made("import_ms", [1e3 * one for one in above], **detail, modules=count),
        figures.made("payload_vs_ping", [sizes["maqet_qmp"] / sizes["ping"]], bytes=sizes),
        figures.made(
            "process_ms",
            [1e3 * one for one in whole],
            **{f"{module}_ms": figures.median_of(spent, 1e3) for module, spent in processes.items()},
        ),
    ]


def payloads(room: Room, vm: str) -> dict[str, Path]:
    """The files that Ansible puts on the host for a query to ``vm`` and for a ping."""
    room.play.run([ping(), task("query", "maqet_qmp", {"vm": vm, "command": "query-status"})], keep=True)
    found = {}
    for module in _MODULES:
        (found[module],) = room.play.remote.glob(f"*/AnsiballZ_{module}.py")
    return found


def zipped(script: bytes) -> bytes:
    """The archive in one of Ansible's module files; ValueError if there is none to be found."""
    for text in re.findall(rb"[A-Za-z0-9+/]{1000,}={0,2}", script):
        data = base64.b64decode(text)
        if zipfile.is_zipfile(io.BytesIO(data)):
            return data
    raise ValueError("no archive is in what Ansible has made of a module: has it changed?")


def _archive(folder: Path, module: str, payload: Path) -> Path:
    path = folder / f"{module}.zip"
    path.write_bytes(zipped(payload.read_bytes()))
    return path


def _imported(archive: Path, module: str) -> tuple[float, int]:
    """Seconds to import ``module`` from ``archive`` in a new interpreter, and the modules that came with it."""
    words = [sys.executable, "-c", _PROBE, str(archive), module]
    said = subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
    spent, count = json.loads(said)
    return spent, count


def _run(payload: Path) -> float:
    """Seconds of a process that does what the task did."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, str(payload)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
