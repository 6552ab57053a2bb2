# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guard and audit cost one command: `python tests/bench/guard.py [--commands N]` in the environment of `./dev`.

Drives a real QEMU through the runner's own parts (session, gate, log), in one process, and prints medians in
microseconds, and the share of a round trip, as JSON. The audit log lies where the system's logs do, so that its
fdatasync is that of a real disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".dev" / "collections"))

from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import myself
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate, Outcome
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

NODES = {"driver": "raw", "node-name": "b", "file": {"driver": "file", "filename": "disk", "read-only": True}}
BITMAPS = [{"type": "block-dirty-bitmap-add", "data": {"node": "b", "name": f"bitmap{n}"}} for n in range(20)]


def median_us(times: list[float]) -> float:
    return round(statistics.median(times) * 1e6, 1)


async def measure(path: str, home: Path, log: str, count: int) -> dict[str, t.Any]:
    session = Session("bench")
    await session.connect(path)
    scope = Scope("bench", str(home), Schema.of(await session.schema()))
    gate = Gate(VmIdentity("bench"), scope, AuditLog(log), "ipc")
    asker, request = Asker(myself()), Request("query-status")
    steps: dict[str, list[float]] = {"bare": [], "ask": [], "send": [], "close": [], "whole": []}
    for _number in range(count):
        begun = time.perf_counter()
        await session.execute("query-status", {}, 10)
        steps["bare"].append(time.perf_counter() - begun)

        begun = time.perf_counter()
        ticket = await asyncio.to_thread(gate.ask, request, asker)
        asked = time.perf_counter()
        await session.execute(ticket.command, ticket.arguments, 10, ticket.passed)
        sent = time.perf_counter()
        await asyncio.to_thread(gate.close, ticket, Outcome("success"))
        ended = time.perf_counter()
        for name, took in (("ask", asked - begun), ("send", sent - asked), ("close", ended - sent)):
            steps[name].append(took)
        steps["whole"].append(ended - begun)
    await session.close()
    figures = {f"{name}_us": median_us(times) for name, times in steps.items()}
    figures["guard_and_audit_share"] = round(1 - figures["send_us"] / figures["whole_us"], 3)
    return {**figures, **verdicts(scope, gate, asker), **appends(home, count)}


def verdicts(scope: Scope, gate: Gate, asker: Asker) -> dict[str, float]:
    """The judge alone."""
    rights, figures = gate.rights(asker), {}
    for name, arguments in (("query-status", {}), ("blockdev-add", NODES), ("transaction", {"actions": BITMAPS})):
        times = []
        for _number in range(300):
            begun = time.perf_counter()
            verdict = judge(Request(name, arguments), scope, rights)
            times.append(time.perf_counter() - begun)
        assert verdict.allowed, verdict.reason
        figures[f"judge_{name}_us"] = median_us(times)
    return figures


def appends(home: Path, count: int) -> dict[str, float]:
    """One record without the wait for the disk: what is left of the cost is that wait."""
    log, times = AuditLog(str(home / "quick.jsonl")), []
    for number in range(count):
        begun = time.perf_counter()
        log.append({"v": 1, "number": number, "text": "x" * 1000}, durable=False)
        times.append(time.perf_counter() - begun)
    return {"append_without_sync_us": median_us(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=500)
    options = parser.parse_args()
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir="/var/log") as logs:
        home = Path(folder)
        for name in ("output", "disks"):
            (home / name).mkdir()
        (home / "output" / "disk").write_bytes(bytes(512))
        path = str(home / "monitor.sock")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            qemu = shutil.which("qemu-system-x86_64") or shutil.which("qemu-system-aarch64") or "qemu-system-x86_64"
            chardev = f"socket,id=m,fd={listening.fileno()},server=on,wait=off"
            argv = [qemu, "-machine", "none", "-S", "-display", "none", "-nodefaults"]
            argv += ["-chardev", chardev, "-mon", "chardev=m,mode=control"]
            with subprocess.Popen(argv, pass_fds=(listening.fileno(),), stdin=subprocess.DEVNULL) as running:
                try:
                    figures = asyncio.run(measure(path, home, f"{logs}/bench.audit.jsonl", options.commands))
                finally:
                    running.kill()
    print(json.dumps({"commands": options.commands, **figures}, indent=2))


if __name__ == "__main__":
    main()
