# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this system has packages from: its own package manager, for its own architecture or another."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from .errors import GuestError, Unavailable
from .packages import Apt, Candidate, Dnf, Say, Source

# For `apt-get --config-file`, which reads it after the system's own, so that #clear has something to clear.
_PRIVATE = """\
#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""


class ForeignApt(Apt):
    """Packages of another architecture than this machine's: from its sources, with package lists of our own.

    Hence nothing of the machine is changed, dpkg learns of no architecture, and no privilege is needed.
    """

    def __init__(self, arch: str, flavour: str, folder: Path) -> None:
        super().__init__(arch, flavour)
        self.folder = folder
        self.lists = folder / "lists"
        self.options = ("--config-file", str(folder / "apt.conf"))

    def fingerprint(self) -> str:
        return ""  # nobody else keeps these lists fresh: what is there is kept until the builder changes

    def _may_update(self) -> bool:
        return True

    def kernel(self, say: Say) -> Candidate:
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_text("")
        (self.folder / "apt.conf").write_text(_PRIVATE.format(arch=self.arch, folder=self.folder))
        try:
            self._update(say)
        except GuestError as error:  # of one source perhaps, and the kernel is in another
            say(f"{error}")
        return self._newest()

    def _unknown(self) -> GuestError:
        return Unavailable(
            f"apt's sources hold no {' or '.join(self.names)} for {self.arch}. On Ubuntu add a source for its ports"
            f" mirror, with `Architectures: {self.arch}`; on Debian, see that no source is limited to others"
        )


def system_source(arch: str, flavour: str, folder: Path) -> Source:
    """The package manager of this system, which may keep lists of a foreign architecture in ``folder``.

    Raises GuestError if the system has neither apt nor dnf.
    """
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        return Apt(arch, flavour) if arch == platform.machine() else ForeignApt(arch, flavour, folder)
    if shutil.which("dnf") and shutil.which("rpm2cpio"):
        return Dnf(arch, flavour)
    raise GuestError("the guest's kernel comes from apt-get and dpkg-deb, or from dnf and rpm2cpio: neither is here")
