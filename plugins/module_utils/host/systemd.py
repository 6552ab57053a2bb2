# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runners as services of systemd: root's of the system's manager, a plain user's of its own where that lasts.

Everything is said by ``systemctl``, which returns when systemd has done it, or knows why not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import pwd
import re
import shutil
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import run
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.unit_text import (
    TEMPLATE,
    is_to_be_written,
    unit_name,
    unit_text,
)

#: The first that knows all that the unit says (the youngest of it are the names of two capabilities).
OLDEST = 247
# For what systemd only notes down. A busy manager reloads all its units before it answers.
_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Manager:
    """A systemd that keeps this user's VMs. ``folder`` is where administrators' units are, with their drop-ins."""

    where: Layout
    folder: str
    systemctl: tuple[str, ...] = ("systemctl",)
    extra: t.Optional[t.Mapping[str, str]] = None

    @property
    def template(self) -> str:
        return os.path.join(self.folder, TEMPLATE)

    def start(self, paths: VmPaths, seconds: float) -> None:
        """Start the unit, and return when its runner has said that it is ready; at once if it has before.

        Raises ``command_failed`` when it fails or takes longer than ``seconds``; then nothing of it is left starting.
        """
        self._begin("start", paths, seconds)

    def restart(self, paths: VmPaths, seconds: float) -> None:
        """Have another runner take the guest over, which goes on meanwhile; else like :meth:`start`."""
        self._begin("restart", paths, seconds)

    def stop(self, paths: VmPaths, seconds: float) -> None:
        """Have the guest power off, in the time that its runner gives it, and return when the runner is gone."""
        self._call("stop", unit_name(paths.name), seconds=seconds)
        self._forgive(paths)

    def forbid_restart(self, paths: VmPaths) -> None:
        """Stop the unit without waiting: a runner that ends from now on, however it does, gets no successor."""
        self._call("stop", "--no-block", unit_name(paths.name))

    def state(self, paths: VmPaths) -> str:
        """systemd's word: active, activating (also between two runners), deactivating, failed or inactive."""
        return self._show(paths, "ActiveState")["ActiveState"]

    def limits(self, paths: VmPaths, limits: t.Mapping[str, str]) -> None:
        """Set properties such as ``MemoryMax``, at once and for good; an empty value is systemd's default again."""
        if not any(limits.values()) and not self._control(paths):
            return
        self._prepare(paths)
        assignments = [f"{key}={value}" for key, value in limits.items()]
        self._call("set-property", unit_name(paths.name), *assignments)

    def enable(self, paths: VmPaths, on: bool) -> None:
        """Whether the unit is started when the host, or the user's manager, comes up."""
        if on == self.enabled(paths):
            return
        if on:
            self._prepare(paths)
        self._call("enable" if on else "disable", "--quiet", unit_name(paths.name))

    def enabled(self, paths: VmPaths) -> bool:
        """Whether a link has some target want it: all that `systemctl enable` makes, so systemd is not asked."""
        links = os.path.join(glob.escape(self.folder), "*.wants", glob.escape(unit_name(paths.name)))
        return bool(glob.glob(links))

    def forget(self, paths: VmPaths) -> None:
        """Leave nothing that a new VM of this name would get: its links, its drop-ins, the memory of a failure."""
        self.enable(paths, False)
        if self._control(paths) or os.path.isdir(os.path.join(self.folder, f"{unit_name(paths.name)}.d")):
            self._call("revert", unit_name(paths.name))
        self._forgive(paths)

    def install(self) -> bool:
        """Write the template if there is none, or an older one of ours; whether it did. Several may do it at once."""
        text = unit_text(self.where)
        if not is_to_be_written(_read(self.template), text):
            return False
        if not os.path.isdir(self.folder):  # of a user; its parents are the user's too
            os.makedirs(self.folder, mode=0o755, exist_ok=True)
        files.write_atomic(self.template, text.encode(), 0o644)
        return True

    def _begin(self, verb: str, paths: VmPaths, seconds: float) -> None:
        if self._prepare(paths) == "failed":
            self._forgive(paths)  # or a runner that crashed too often could not be started for a while
        try:
            self._call(verb, unit_name(paths.name), seconds=seconds)
        except MaqetError:
            with contextlib.suppress(MaqetError):  # the first failure is what counts
                self._call("stop", unit_name(paths.name))
            self._forgive(paths)
            raise

    def _prepare(self, paths: VmPaths) -> str:
        """Have systemd know the template, also one whose writer was killed before it told; the unit's state."""
        self.install()
        unit = self._show(paths, "LoadState", "NeedDaemonReload", "ActiveState")
        if unit["LoadState"] != "loaded" or unit["NeedDaemonReload"] == "yes":
            self._call("daemon-reload")
        return unit["ActiveState"]

    def _forgive(self, paths: VmPaths) -> None:
        with contextlib.suppress(MaqetError):  # mostly systemd has forgotten the unit already
            self._call("reset-failed", unit_name(paths.name))

    def _control(self, paths: VmPaths) -> bool:
        """Whether set-property has left drop-ins."""
        return os.path.isdir(os.path.join(f"{self.folder}.control", f"{unit_name(paths.name)}.d"))

    def _show(self, paths: VmPaths, *properties: str) -> dict[str, str]:
        shown = self._call("show", f"--property={','.join(properties)}", unit_name(paths.name))
        return dict(line.partition("=")[::2] for line in shown.splitlines())

    def _call(self, verb: str, *arguments: str, seconds: float = _SECONDS) -> str:
        return run([*self.systemctl, verb, *arguments], seconds, extra=self.extra)


def manager_of(where: Layout) -> t.Optional[Manager]:
    """The systemd that keeps the VMs of this user, or None where none does."""
    manager = _system(where) if where.scope == "system" else _user(where)
    if manager is None or (_read(manager.template) is None and _version() < OLDEST):
        return None
    return manager


def advice(where: Layout) -> t.Optional[str]:
    """What a plain user should know whose VMs systemd would keep, if the user lingered."""
    if where.scope == "system" or not _booted() or _lingers():
        return None
    name = _account().pw_name
    return (
        f"User {name} does not linger: its VMs have no unit, may end with the login that started them (logind's "
        f"KillUserProcesses=yes), and do not come back at boot. As root: loginctl enable-linger {name}"
    )


def _system(where: Layout) -> t.Optional[Manager]:
    return Manager(where, "/etc/systemd/system") if _booted() else None


def _user(where: Layout) -> t.Optional[Manager]:
    """A user's manager comes with the first login and goes with the last one, unless the user lingers."""
    runtime = f"/run/user/{os.geteuid()}"
    if not (_booted() and _lingers() and os.path.exists(f"{runtime}/systemd/private")):
        return None
    # Not by our own environment: the manager has the home of the user database, and a task may come by su or sudo.
    folder = os.path.join(_account().pw_dir, ".config", "systemd", "user")
    extra = {"XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}
    return Manager(where, folder, ("systemctl", "--user"), extra)


def _booted() -> bool:
    """sd_booted(3), and a way to speak to it."""
    return os.path.isdir("/run/systemd/system") and shutil.which("systemctl") is not None


def _lingers() -> bool:
    return os.path.exists(os.path.join("/var/lib/systemd/linger", _account().pw_name))


def _account() -> pwd.struct_passwd:
    """The entry of the user database; a user without one cannot linger, and is known by its number."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", "/", ""))


def _version() -> int:
    """That of systemd on this host, or 0."""
    found = re.match(r"systemd ([0-9]+)", run(["systemctl", "--version"]))
    return int(found.group(1)) if found else 0


def _read(path: str) -> t.Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
