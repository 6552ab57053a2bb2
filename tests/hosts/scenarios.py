# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenarios of extensions/molecule one after another, each by a Molecule of its own, and how long each step took.

    python3 -m ansible_collections.maqet.qemu.tests.hosts.scenarios [SCENARIO...]

Without names all of them. The last lines say of each scenario whether it was content, and the very last one of all.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.tests.hosts import cloud_guest

ROOT = Path(__file__).resolve().parent.parent.parent
SCENARIOS = ROOT / "extensions" / "molecule"
#: What a scenario's molecule.yml may name: the disk of :func:`cloud_guest.image`, which is built if it is not there.
GUEST_IMAGE = "MAQET_GUEST_IMAGE"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
#: What Molecule says before and after a step: ``INFO     [default > create] Executing``, or with an arrow and colours.
_STEP = re.compile(r"^[A-Z]+\s+\[?\S+ [>➜] (?P<step>\w+)(?:\]|:) (?P<what>Execut(?:ing|ed).*)$")


@dataclasses.dataclass
class Steps:
    """The steps of one scenario with their seconds, from the lines that Molecule prints."""

    seconds: list[tuple[str, float]] = dataclasses.field(default_factory=list)
    _begun: tuple[str, float] | None = None

    def hear(self, line: str, now: float) -> None:
        """A line that was printed at ``now``, in seconds of any clock."""
        found = _STEP.match(_COLOURS.sub("", line).rstrip())
        if not found:
            return
        if found["what"] == "Executing":
            self._begun = (found["step"], now)
        elif self._begun and self._begun[0] == found["step"]:
            self.seconds.append((found["step"], now - self._begun[1]))
            self._begun = None

    def told(self) -> str:
        """``create 6, converge 20``; steps of less than half a second are none."""
        return ", ".join(f"{step} {seconds:.0f}" for step, seconds in self.seconds if seconds >= 0.5)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of one scenario; it took ``seconds``."""

    name: str
    content: bool
    seconds: float
    steps: str

    def line(self) -> str:
        return f"{self.name:<14} {'ok' if self.content else 'FAILED':<6} {self.seconds:4.0f} s  {self.steps}"


def known() -> list[str]:
    """The names of all scenarios."""
    return sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml"))


def run(name: str, env: dict[str, str]) -> Verdict:
    """One scenario from nothing to nothing; what Molecule says is printed as it says it."""
    if GUEST_IMAGE in (SCENARIOS / name / "molecule.yml").read_text("utf-8"):
        env = {**env, GUEST_IMAGE: str(cloud_guest.image().disk)}
    steps, begun = Steps(), time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "molecule", "test", "--scenario-name", name],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as molecule:
        for line in t.cast("t.IO[str]", molecule.stdout):
            steps.hear(line, time.monotonic())
            sys.stdout.write(line)
            sys.stdout.flush()
    return Verdict(name, molecule.returncode == 0, time.monotonic() - begun, steps.told())


def environment(control: str) -> dict[str, str]:
    """Nothing of the user's Ansible, and nothing left in the user's home.

    ``control`` is a folder with a short name: a socket in it may have 107 bytes in all.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    return {
        **kept,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"),
        "ANSIBLE_HOME": str(ROOT / ".dev" / "molecule"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": control,
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "NO_COLOR": "1",
        "LC_ALL": "C.UTF-8",
    }


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns 1 when a scenario was not content."""
    parser = argparse.ArgumentParser(prog="./dev molecule", allow_abbrev=False)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"some of: {', '.join(known())}")
    wanted = parser.parse_args(arguments).scenarios or known()
    strange = [name for name in wanted if name not in known()]
    if strange:
        parser.error(f"there is no scenario {', '.join(strange)}; there are {', '.join(known())}")
    missing = cloud_guest.missing_parts()
    if missing:
        _closing(f"molecule: nothing was run, which needs {', '.join(missing)}")
        return int(bool(os.environ.get("CI") or os.environ.get("MAQET_REQUIRE_HOSTS")))
    with tempfile.TemporaryDirectory(prefix="mqtm-") as control:
        verdicts = [run(name, environment(control)) for name in wanted]
    failed = [verdict.name for verdict in verdicts if not verdict.content]
    sys.stdout.write("\n" + "".join(f"{verdict.line()}\n" for verdict in verdicts))
    if len(verdicts) == 1:
        _closing(f"molecule: {' '.join(verdicts[0].line().split())}")
    else:
        content = f"{len(verdicts) - len(failed)} of {len(verdicts)} scenarios content"
        _closing(f"molecule: {content}" + "".join(f", not {name}" for name in failed))
    return int(bool(failed))


def _closing(text: str) -> None:
    """One line as pytest ends with, which `./dev test` repeats in its summary."""
    sys.stdout.write(f"===== {text} =====\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
