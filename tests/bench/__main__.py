# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the bench; `./dev bench` calls it in the environment that it has made."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.files import write_atomic
from ansible_collections.maqet.qemu.tests.bench import families, peers, report
from ansible_collections.maqet.qemu.tests.chaos import enter

COLLECTIONS = Path(__file__).absolute().parents[5]  # not resolved: the link into the checkout stands there
PACKAGE = "ansible_collections.maqet.qemu.tests.bench"


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="./dev bench", description="How fast it is, next to bare QEMU and to others.")
    made.add_argument("--json", metavar="FILE", help="write the report there, as one JSON object")
    made.add_argument("--peers", action="store_true", help="libvirt and maqet too, which are installed for it")
    made.add_argument("--short", action="store_true", help="few runs and few VMs: shows that it works, judges nothing")
    made.add_argument("--only", nargs="+", metavar="KEY", choices=families.keys(peers=True), help="only these figures")
    return made


def main(arguments: list[str]) -> int:
    """Parse, then go inside, then measure. The status is 0 if all figures were made, whatever they say."""
    given = parser()
    options = given.parse_args(arguments)
    if not options.peers and set(options.only or ()) - set(families.keys(peers=False)):
        given.error("these figures need --peers")
    folder = os.environ.pop(enter.INSIDE, None)
    if folder is None:
        obstacle = enter.obstacle()
        if obstacle is not None:
            print(f"===== bench: nothing measured: {obstacle} =====")
            return 1 if os.environ.get("CI") else 0
        if options.peers:
            peers.install()  # for the machine, not for that world
        return enter.outside(arguments, PACKAGE)
    target = options.json and os.path.abspath(options.json)
    return enter.init(Path(folder), lambda: _measure(options, Path(folder) / "work", target))


def _measure(options: argparse.Namespace, folder: Path, target: str | None) -> int:
    wanted = families.Wanted(options.only or (), options.peers, options.short)
    found = families.run(wanted, folder, COLLECTIONS)
    if target:
        write_atomic(target, (json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode(), 0o644)
    print(f"\n{report.table(found)}\n\n===== {report.closing(found)} =====", flush=True)
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
