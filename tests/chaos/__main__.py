# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the suite; `./dev chaos` calls it in the environment that it has made."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from ansible_collections.maqet.qemu.tests.chaos import enter, suite

COLLECTIONS = Path(__file__).absolute().parents[5]  # not resolved: the link into the checkout stands there


def main(arguments: list[str]) -> int:
    """Parse, then go inside, then run."""
    parser = argparse.ArgumentParser(prog="./dev chaos", description="What must hold, whatever breaks.")
    parser.add_argument("--rounds", type=int, metavar="N", help="N rounds of each case, instead of the full counts")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, as one JSON object")
    parser.add_argument("--case", action="append", choices=list(suite.all_cases()), help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="what the random choices come from; a new one is chosen and printed")
    parser.add_argument("--again", type=int, metavar="SEED", help="only the round of one --case that had this seed")
    parser.add_argument("--short", action="store_true", help="the short form, as in ./dev test")
    options = parser.parse_args(arguments)
    if options.again is not None and len(options.case or ()) != 1:
        parser.error("--again needs one --case")
    if options.seed is None:
        options.seed = secrets.randbelow(2**31)
        arguments = [*arguments, "--seed", str(options.seed)]
    folder = os.environ.pop(enter.INSIDE, None)
    if folder is None:
        obstacle = enter.obstacle()
        if obstacle is not None:
            print(f"===== chaos: all cases skipped: {obstacle} =====")
            return 1
        print(f"seed {options.seed}", flush=True)
        return enter.outside(arguments)
    wanted = suite.Wanted(options.case or (), options.rounds, options.seed, options.again, options.short)
    inside = Path(folder)
    return enter.init(inside, lambda: suite.show(suite.run(wanted, inside, COLLECTIONS), options.json))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
