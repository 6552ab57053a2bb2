# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an intent and the facts of its host to the command line of QEMU.

The same input always gives the same list, so that two of them can be compared.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.definition import defaults
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_board import (
    MEMORY,
    apply_order,
    backend,
    boot_arguments,
    clock_arguments,
    processors,
    smbios_arguments,
)
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_console import (
    VIDEO,
    video_device,
    vnc_arguments,
)
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_devices import USB, added_arguments
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source, disk_arguments
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_firmware import (
    Flash,
    flash_arguments,
    machine_suffix,
    share_arguments,
    tpm_arguments,
)
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import End, network_arguments
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import Ports
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_seed import seed_arguments
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import option_string
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile

MONITOR = "maqet-monitor"
DIRECT = "maqet-direct"
SERIAL = "maqet-serial"
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
    ``agent_fd`` and ``serial_fd`` only where there is such a port, ``seed`` only where there is cloud_init;
    ``host_arch`` is what ``platform.machine()`` says;
    ``disks`` are the files by disk name.
    ``vnc_password`` is a file that holds it; ``host_nodes`` what QEMU calls the nodes of USB devices, by their place.
    Where QEMU gets files open: ``sets`` are these, ``sources`` say by disk what QEMU calls it, and
    ``renamed`` by option (kernel, initrd, shares). ``ends`` is what is ready for each network, in their order.
    ``flash`` is there for UEFI; ``tpm_fd`` where there is a TPM: QEMU's end of the socket to it. ``incoming``: the
    guest comes from another QEMU.
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
    serial_fd: t.Optional[int] = None
    vnc_password: t.Optional[str] = None
    host_nodes: t.Mapping[int, str] = field(default_factory=dict)
    flash: t.Optional[Flash] = None
    tpm_fd: t.Optional[int] = None
    incoming: bool = False
    seed: t.Optional[Source] = None
    disks: t.Mapping[str, DiskFile] = field(default_factory=dict)
    sets: t.Sequence[FdSet] = ()
    sources: t.Mapping[str, Source] = field(default_factory=dict)
    renamed: t.Mapping[str, str] = field(default_factory=dict)
    ends: t.Sequence[End] = ()


def command_line(intent: t.Mapping[str, t.Any], place: Place) -> list[str]:
    """The whole argv, beginning with the binary. QEMU starts paused; its runner lets it go on."""
    wanted = defaults.effective(intent, place.host_arch)
    apply_order(wanted)
    ports = Ports(wanted["machine"])
    plugged = [  # first, since these ask for ports
        *disk_arguments(wanted["disks"], place.disks, place.sources, ports),
        *network_arguments(wanted["networks"], place.uuid, wanted["arch"], ports, place.ends),
        *seed_arguments(place.seed, ports),
    ]
    added = added_arguments(wanted, place.host_nodes, _has_usb(wanted), ports)
    return [
        place.binary,
        *_identity(place),
        *_machine(wanted, place),
        *smbios_arguments(wanted),
        *clock_arguments(wanted),
        *boot_arguments(wanted),
        *_monitor(MONITOR, place.monitor_fd),
        *_monitor(DIRECT, place.direct_fd),
        *_sets(place.sets),
        *flash_arguments(place.flash),
        *tpm_arguments(wanted["tpm"], wanted["arch"], place.tpm_fd),
        *_kernel(wanted, place.renamed),
        *_serial(wanted, place),
        *_display(wanted, place),
        *ports.arguments(),
        *plugged,
        *_agent(wanted, place),
        *_actions(wanted),
        *share_arguments(wanted["shares"], place.renamed),
        # Behind everything else that has a PCI address, so that nothing else's moves.
        *added,
        *wanted["extra_args"],
    ]


def _identity(place: Place) -> list[str]:
    """Nothing from configuration files, no devices that nobody asked for, and a name and uuid of our own."""
    arguments = ["-nodefaults", "-no-user-config", "-S"]
    arguments += ["-name", option_string("", [("guest", place.name), ("debug-threads", True)]), "-uuid", place.uuid]
    if place.incoming:
        arguments += ["-incoming", "defer"]
    if place.sandbox:
        arguments += ["-sandbox", option_string("on", _SANDBOX)]
    return arguments


def _machine(wanted: t.Mapping[str, t.Any], place: Place) -> list[str]:
    model, smp = processors(wanted, place.accel)
    machine = wanted["machine"]
    if machine == "virt" or machine.startswith("virt-"):
        machine += ",gic-version=max"  # QEMU's default, version 2 under tcg, serves 8 processors at most
    memory = backend(wanted)
    if memory:
        machine += f",memory-backend={MEMORY}"
    machine += machine_suffix(place.flash)
    arguments = [*memory, "-machine", machine, "-accel", place.accel, "-cpu", model]
    return arguments + ["-m", f"size={wanted['memory']}M", "-smp", smp]


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
    if wanted["serial"] == "socket":  # the log has all that is said, whether somebody is connected or not
        log = [("logfile", place.serial_log), ("logappend", True)]
        socket = [("id", SERIAL), ("fd", place.serial_fd), ("server", True), ("wait", False), *log]
        chardev = option_string("socket", socket)
    else:
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
    arguments += vnc_arguments(wanted, place.vnc_socket, place.vnc_password)
    arguments += ["-device", option_string(video_device(wanted), [("id", VIDEO)])]
    if _has_usb(wanted):
        arguments += ["-device", option_string("qemu-xhci", [("id", USB)])]
        for device in ("usb-kbd", "usb-tablet"):
            arguments += ["-device", option_string(device, [("bus", f"{USB}.0")])]
    return arguments


def _has_usb(wanted: t.Mapping[str, t.Any]) -> bool:
    """Arm's board has no keyboard, and gets one with its display; a PC has its PS/2 keyboard and mouse."""
    return bool(wanted["arch"] == "aarch64" and wanted["display"] != "none")
