# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an intent and the facts of its host to the command line of QEMU.

The same input always gives the same list, so that two of them can be compared.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.definition import defaults
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source, disk_arguments
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import network_arguments
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_seed import seed_arguments
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import option_string
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile

MONITOR = "maqet-monitor"
DIRECT = "maqet-direct"
SERIAL = "maqet-serial"
VIDEO = "maqet-video"
USB = "maqet-usb"
AGENT = "maqet-agent"
PANIC = "maqet-panic"
AGENT_PORT = "maqet-agent-port"
# The name by which an agent finds its port; qemu-ga and the distributions' units look for no other.
AGENT_PORT_NAME = "org.qemu.guest_agent.0"

_SANDBOX = [("obsolete", "deny"), ("elevateprivileges", "deny"), ("spawn", "deny"), ("resourcecontrol", "deny")]


@dataclass(frozen=True)
class FdSet:
    """A descriptor that QEMU inherits and knows as one of those in ``/dev/fdset/NUMBER``."""

    fd: int
    number: int
    opaque: str


@dataclass(frozen=True)
class Place:
    """What rendering must know of the host.

    ``accel`` is kvm or tcg, proven already; the descriptors are listening sockets that QEMU inherits,
    ``agent_fd`` only where there is an agent, ``seed`` only where there is cloud_init; ``host_arch`` is what
    ``platform.machine()`` says;
    ``disks`` are the files by disk name.
    Where QEMU gets files open: ``sets`` are these, ``sources`` say by disk what QEMU calls it, and
    ``renamed`` by option (kernel, initrd).
    """

    name: str
    uuid: str
    binary: str
    accel: str
    monitor_fd: int
    direct_fd: int
    serial_log: str
    vnc_socket: str
    host_arch: str
    sandbox: bool = True
    agent_fd: t.Optional[int] = None
    seed: t.Optional[Source] = None
    disks: t.Mapping[str, DiskFile] = field(default_factory=dict)
    sets: t.Sequence[FdSet] = ()
    sources: t.Mapping[str, Source] = field(default_factory=dict)
    renamed: t.Mapping[str, str] = field(default_factory=dict)


def command_line(intent: t.Mapping[str, t.Any], place: Place) -> list[str]:
    """The whole argv, beginning with the binary. QEMU starts paused; its runner lets it go on."""
    wanted = defaults.effective(intent, place.host_arch)
    return [
        place.binary,
        *_identity(place),
        *_machine(wanted, place),
        *_monitor(MONITOR, place.monitor_fd),
        *_monitor(DIRECT, place.direct_fd),
        *_sets(place.sets),
        *_kernel(wanted, place.renamed),
        *_serial(wanted, place),
        *_display(wanted, place),
        *disk_arguments(wanted["disks"], place.disks, place.sources),
        *network_arguments(wanted["networks"], place.uuid, wanted["arch"]),
        *_agent(wanted, place),
        *seed_arguments(place.seed),
        *_actions(wanted),
        *wanted["extra_args"],
    ]


def _identity(place: Place) -> list[str]:
    """Nothing from configuration files, no devices that nobody asked for, and a name and uuid of our own."""
    arguments = ["-nodefaults", "-no-user-config", "-S"]
    arguments += ["-name", option_string("", [("guest", place.name), ("debug-threads", True)]), "-uuid", place.uuid]
    if place.sandbox:
        arguments += ["-sandbox", option_string("on", _SANDBOX)]
    return arguments


def _machine(wanted: t.Mapping[str, t.Any], place: Place) -> list[str]:
    # The model's features are a list of QEMU's own, split at commas: no quoting there.
    cpu = wanted["cpu_model"] or defaults.CPU_MODELS[place.accel]
    machine = wanted["machine"]
    if machine == "virt" or machine.startswith("virt-"):
        machine += ",gic-version=max"  # QEMU's default, version 2 under tcg, serves 8 processors at most
    arguments = ["-machine", machine, "-accel", place.accel, "-cpu", cpu]
    return arguments + ["-m", f"size={wanted['memory']}M", "-smp", f"cpus={wanted['cpus']}"]


def _monitor(name: str, descriptor: int) -> list[str]:
    """A QMP monitor on a socket that listens already, so that nobody can connect too early or find it missing."""
    socket = option_string("socket", [("id", name), ("fd", descriptor), ("server", True), ("wait", False)])
    return ["-chardev", socket, "-mon", option_string("", [("chardev", name), ("mode", "control")])]


def _sets(sets: t.Iterable[FdSet]) -> list[str]:
    arguments = []
    for one in sets:
        arguments += ["-add-fd", option_string("", [("fd", one.fd), ("set", one.number), ("opaque", one.opaque)])]
    return arguments


def _kernel(wanted: t.Mapping[str, t.Any], renamed: t.Mapping[str, str]) -> list[str]:
    """These three take their value as it is, commas and all."""
    arguments = []
    for option, key in (("-kernel", "kernel"), ("-initrd", "initrd"), ("-append", "cmdline")):
        if wanted[key]:
            arguments += [option, renamed.get(key, wanted[key])]
    return arguments


def _serial(wanted: t.Mapping[str, t.Any], place: Place) -> list[str]:
    if wanted["serial"] == "none":
        return []
    chardev = option_string("file", [("id", SERIAL), ("path", place.serial_log), ("append", True)])
    return ["-chardev", chardev, "-serial", f"chardev:{SERIAL}"]


def _agent(wanted: t.Mapping[str, t.Any], place: Place) -> list[str]:
    """The guest agent's port. After disks and cards, so that those keep their PCI addresses when it comes or goes."""
    if not wanted["agent"]:
        return []
    socket = [("id", AGENT), ("fd", place.agent_fd), ("server", True), ("wait", False)]
    bus = f"{AGENT}-bus"
    port = [("id", AGENT_PORT), ("bus", f"{bus}.0"), ("chardev", AGENT), ("name", AGENT_PORT_NAME)]
    arguments = [
        "-chardev",
        option_string("socket", socket),
        "-device",
        option_string("virtio-serial-pci", [("id", bus)]),
    ]
    return [*arguments, "-device", option_string("virtserialport", port)]


def _actions(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """What QEMU does when the guest resets or panics; a device by which it can say that it panics (docs/specs/pvpanic).

    Behind everything that has a PCI address, for the same reason as the agent's port.
    """
    actions = [("panic", wanted["panic_action"])] if wanted["panic_action"] else []
    actions += [("reboot", "shutdown")] if wanted["reboot_action"] == "shutdown" else []
    device = "pvpanic" if wanted["arch"] == "x86_64" else "pvpanic-pci"
    arguments = ["-device", option_string(device, [("id", PANIC)])] if wanted["panic_action"] else []
    return [*arguments, "-action", option_string("", actions)] if actions else arguments


def _display(wanted: t.Mapping[str, t.Any], place: Place) -> list[str]:
    """``none`` has no graphics card; ``headless`` has one that only screenshots see; ``vnc`` adds a socket."""
    arguments = ["-display", "none"]
    if wanted["display"] == "none":
        return arguments
    if wanted["display"] == "vnc":
        arguments += ["-vnc", option_string(f"unix:{place.vnc_socket}", [])]
    if wanted["arch"] == "aarch64":
        # Arm's board has neither VGA nor a keyboard; a PC has its PS/2 keyboard and mouse.
        arguments += ["-device", option_string("virtio-gpu-pci", [("id", VIDEO)])]
        arguments += ["-device", option_string("qemu-xhci", [("id", USB)])]
        for device in ("usb-kbd", "usb-tablet"):
            arguments += ["-device", option_string(device, [("bus", f"{USB}.0")])]
        return arguments
    return arguments + ["-device", option_string("VGA", [("id", VIDEO)])]
