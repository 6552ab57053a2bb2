# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that go to QEMU as they are: the ``extra_args`` option.

What could break a promise of the collection is refused: a second monitor (it would pass the guard
by), a QEMU that leaves its supervisor, an option that the collection sets itself, a disk whose format
QEMU would guess. This keeps people from accidents; whoever may define VMs is trusted with their QEMU.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

# Prefix of every id that the command line uses for itself.
OWN_PREFIX = "maqet"

_MONITOR = ("would open a monitor past the guard", "Use maqet_qmp to talk to the VM.")
_LEAVES = ("would take QEMU from its runner", "Remove it: the collection starts, watches and ends QEMU.")
_FIXED = ("is set by the collection", "Remove it.")
_DISK = ("adds a disk whose format QEMU guesses", "Use the option disks, or -blockdev with its driver.")
_ENDS = ("makes QEMU answer and end", "Run QEMU by hand for that.")


def _own(option: str) -> tuple[str, str]:
    return ("is set by the collection", f"Use the option {option}.")


# Spelled without dashes. Value: what is wrong, what to do.
_REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("qmp", "qmp-pretty", "mon", "monitor", "gdb", "s", "qtest"), _MONITOR),
    **dict.fromkeys(
        ("daemonize", "pidfile", "runas", "user", "chroot", "S", "preconfig", "no-shutdown", "add-fd"), _LEAVES
    ),
    **dict.fromkeys(("nodefaults", "no-user-config", "nodefconfig", "sandbox", "name", "uuid"), _FIXED),
    **dict.fromkeys(("hda", "hdb", "hdc", "hdd", "fda", "fdb", "cdrom", "sd", "mtdblock"), _DISK),
    **dict.fromkeys(("h", "help", "version", "audio-help"), _ENDS),
    **dict.fromkeys(("accel", "enable-kvm", "no-kvm"), _own("accel")),
    **dict.fromkeys(("display", "vnc", "nographic", "curses", "sdl"), _own("display")),
    "cpu": _own("cpu_model"),
    "kernel": _own("kernel"),
    "initrd": _own("initrd"),
    "append": _own("cmdline"),
    **dict.fromkeys(("bios", "pflash"), _own("firmware")),
    "incoming": ("makes QEMU wait for a migration", "Remove it."),
    "readconfig": ("hides options in a file", "Give the options here, one by one."),
    "snapshot": ("has no effect on the disks of the collection", "Use an overlay: a disk with a base."),
    "set": ("can change what the collection has set", "Give the property with -device, or use -global."),
}

# Options that stay useful beside the collection's own, as long as they leave these keys alone. QEMU
# merges several of them. A first part without '=' is the value of the first key.
_SHARED: dict[str, tuple[tuple[str, ...], str]] = {
    "m": (("size",), "memory"),
    "smp": (("cpus",), "cpus"),
    "machine": (("type", "accel"), "machine or accel"),
    "M": (("type", "accel"), "machine or accel"),
}

# Options whose value can do what the refused ones do. QEMU takes a key's value from the last time it is given.
_REFUSED_VALUES: tuple[tuple[frozenset[str], t.Pattern[str], tuple[str, str]], ...] = (
    (frozenset({"serial", "parallel", "debugcon"}), re.compile(r"mon:.*", re.DOTALL), _MONITOR),
    (frozenset({"action"}), re.compile(r"(?:.*,)?shutdown=pause(?:,.*)?", re.DOTALL), _LEAVES),
    (frozenset({"run-with"}), re.compile(r"(?:.*,)?(?:chroot|user|exit-with-parent)=.*", re.DOTALL), _LEAVES),
    (frozenset({"drive"}), re.compile(r"(?!(?:.*,)?format=)(?:.*,)?file=.*", re.DOTALL), _DISK),
)

# Options without a value, from the help texts of QEMU 6.2 to 10: what follows one of them must be another option.
_NO_VALUE = frozenset(
    ("async-teardown", "enable-fips", "enable-sync-profile", "full-screen", "jitdump", "mem-prealloc", "no-acpi")
    + ("no-fd-bootchk", "no-hpet", "no-reboot", "old-param", "only-migratable", "perfmap", "portrait", "semihosting")
    + ("singlestep", "usb", "win2k-hack", "xen-attach", "xen-domid-restrict")
)


def extra_args(option: str, value: t.Any) -> list[str]:
    """The arguments as given, or ``invalid_option`` for the first that cannot be."""
    remedy = "Give strings of one line, the option and its value apart, such as ['-device', 'virtio-rng-pci']."
    arguments = [
        values.text(f"{option}[{index}]", argument, remedy, 65536)
        for index, argument in enumerate(values.list_of(option, value, "arguments"))
    ]
    waiting = ""  # the option whose value comes next
    for index, argument in enumerate(arguments):
        path = f"{option}[{index}]"
        if argument.startswith("-"):
            # Also where a value would stand: which options take one differs between versions of QEMU.
            waiting = _check_option(path, argument)
        elif not waiting:
            raise invalid_option(
                path,
                argument,
                "is the value of no option, so QEMU would take it for a disk",
                "Put its option before it.",
            )
        else:
            _check_value(path, waiting, argument)
            waiting = ""
    return arguments


def _check_option(path: str, argument: str) -> str:
    """The option's name if a value may follow, else an empty string."""
    # QEMU takes one dash or two, and no "=": that spelling fails later, with less helpful words.
    name = argument[2:] if argument.startswith("--") else argument[1:]
    bare = name.split("=", 1)[0]
    if bare in _REFUSED:
        raise invalid_option(path, argument, *_REFUSED[bare])
    if bare != name and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9-]*", bare):
        raise invalid_option(
            path, argument, "joins an option and its value, which QEMU does not know", "Give them apart."
        )
    return "" if name in _NO_VALUE else name


def _check_value(path: str, name: str, value: str) -> None:
    for names, pattern, reason in _REFUSED_VALUES:
        if name in names and pattern.fullmatch(value):
            raise invalid_option(path, value, *reason)
    keys, ours = _SHARED.get(name, ((), ""))
    if keys:
        parts = value.split(",")
        if "=" not in parts[0] or any(part.split("=", 1)[0] in keys for part in parts):
            raise invalid_option(path, value, f"sets what the collection sets with -{name}", f"Use the option {ours}.")
    if _own_id(value):
        raise invalid_option(path, value, f"uses an id that begins with {OWN_PREFIX}", "Choose another id.")


def _own_id(value: str) -> bool:
    """Does the value, in QEMU's own form or as JSON, name something with an id of ours?"""
    if value.startswith("{"):
        try:
            members = json.loads(value)
        except ValueError:
            return False  # QEMU will say what is wrong with it
        return any(str(members.get(key, "")).startswith(OWN_PREFIX) for key in ("id", "node-name"))
    return re.search(rf"(?:^|,)(?:id|node-name)={OWN_PREFIX}", value) is not None
