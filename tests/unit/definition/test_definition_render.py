# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From intents to command lines, word for word. Lines of each of these shapes have started a real QEMU 7.2."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import FdSet, Place, command_line
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source, node_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import (
    End,
    mac_address,
    netdev,
)
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import device as card_of
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import option_string, quote
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile
from hypothesis import given
from hypothesis import strategies as st

UUID = "11111111-2222-3333-4444-555555555555"
FILES = {name: DiskFile(f"/v/{name}", "qcow2") for name in ("disk0", "disk1", "disk2", "disk3")}


def place(**changes: t.Any) -> Place:
    facts: dict[str, t.Any] = {
        "name": "web-1",
        "uuid": UUID,
        "binary": "/usr/bin/qemu-system-x86_64",
        "accel": "tcg",
        "monitor_fd": 5,
        "direct_fd": 6,
        "serial_log": "/v/serial.log",
        "vnc_socket": "/r/vnc.sock",
        "agent_fd": 7,
        "host_arch": "x86_64",
        "disks": FILES,
    }
    return Place(**{**facts, **changes})


def render(params: dict[str, t.Any], **changes: t.Any) -> list[str]:
    """Without the ports that devices sit in, which test_definition_render_ports.py looks at."""
    line = command_line(merge({}, normalise(params)), place(**changes))
    ports = {index for index, word in enumerate(line) if word.startswith("pcie-root-port,")}
    kept = [word for index, word in enumerate(line) if index not in ports and index + 1 not in ports]
    return [re.sub(r",bus=maqet-port\d+$", "", word) for word in kept]


BARE = [
    *("/usr/bin/qemu-system-x86_64", "-nodefaults", "-no-user-config", "-S"),
    *("-name", "guest=web-1,debug-threads=on", "-uuid", UUID),
    *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
    *("-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "size=512M", "-smp", "cpus=1"),
    *("-chardev", "socket,id=maqet-monitor,fd=5,server=on,wait=off"),
    *("-mon", "chardev=maqet-monitor,mode=control"),
    *("-chardev", "socket,id=maqet-direct,fd=6,server=on,wait=off"),
    *("-mon", "chardev=maqet-direct,mode=control"),
    *("-chardev", "file,id=maqet-serial,path=/v/serial.log,append=on", "-serial", "chardev:maqet-serial"),
    *("-display", "none"),
]


def swapped(line: list[str], **values: str) -> list[str]:
    """The line with other values for some of its options."""
    result = list(line)
    for option, value in values.items():
        result[result.index(f"-{option}") + 1] = value
    return result


#: The shortest command line of each architecture.
BARE_OF = {"x86_64": BARE, "aarch64": swapped(BARE, machine="virt,gic-version=max", cpu="max,pauth-impdef=on")}


def test_bare() -> None:
    assert render({}) == BARE


def test_no_sandbox_where_qemu_has_none() -> None:
    line = render({}, sandbox=False)
    at = BARE.index("-sandbox")
    assert line == BARE[:at] + BARE[at + 2 :]


def test_kvm_shows_the_host_processor() -> None:
    assert render({}, accel="kvm") == swapped(BARE, accel="kvm", cpu="host")


def test_processor_memory_machine() -> None:
    line = render({"memory": "2G", "cpus": 4, "cpu_model": "EPYC,topoext=on", "machine": "pc"})
    assert line == swapped(BARE, machine="pc", cpu="EPYC,topoext=on", m="size=2048M", smp="cpus=4")


def test_serial_none() -> None:
    at = BARE.index("-serial") - 2
    assert render({"serial": "none"}) == BARE[:at] + BARE[at + 4 :]


def test_kernel_values_are_not_quoted() -> None:
    params = {"kernel": "/k/a,b", "initrd": "/k/i,j", "cmdline": "console=ttyS0,115200 a=b,c"}
    at = BARE.index("-serial") - 2
    kernel = ["-kernel", "/k/a,b", "-initrd", "/k/i,j", "-append", "console=ttyS0,115200 a=b,c"]
    assert render(params) == BARE[:at] + kernel + BARE[at:]


def test_commas_in_paths() -> None:
    line = render({"display": "vnc"}, serial_log="/v,1/serial.log", vnc_socket="/r,1/vnc.sock")
    assert "file,id=maqet-serial,path=/v,,1/serial.log,append=on" in line
    assert "unix:/r,,1/vnc.sock" in line


VGA = ["-device", "VGA,id=maqet-video"]
ARM_VIDEO = [
    *("-device", "virtio-gpu-pci,id=maqet-video", "-device", "qemu-xhci,id=maqet-usb"),
    *("-device", "usb-kbd,bus=maqet-usb.0", "-device", "usb-tablet,bus=maqet-usb.0"),
]


@pytest.mark.parametrize(
    ("display", "arch", "tail"),
    [
        ("none", "x86_64", []),
        ("headless", "x86_64", VGA),
        ("vnc", "x86_64", ["-vnc", "unix:/r/vnc.sock", *VGA]),
        ("none", "aarch64", []),
        ("headless", "aarch64", ARM_VIDEO),
        ("vnc", "aarch64", ["-vnc", "unix:/r/vnc.sock", *ARM_VIDEO]),
    ],
)
def test_display(display: str, arch: str, tail: list[str]) -> None:
    expected = [*BARE_OF[arch], *tail]
    assert render({"display": display, "arch": arch}) == expected
    assert render({"display": display}, host_arch=arch) == expected


def nodes(name: str, path: str, driver: str = "qcow2", readonly: bool = False) -> list[str]:
    word = "true" if readonly else "false"
    return [
        "-blockdev",
        f'{{"driver":"file","node-name":"disk-{name}-file","filename":"{path}","read-only":{word}}}',
        "-blockdev",
        f'{{"driver":"{driver}","node-name":"disk-{name}","file":"disk-{name}-file","read-only":{word}}}',
    ]


def test_one_disk() -> None:
    device = "virtio-blk-pci,id=disk0,drive=disk-disk0,serial=disk0,bootindex=1"
    assert render({"disks": [{"size": "1G"}]}) == [*BARE, *nodes("disk0", "/v/disk0"), "-device", device]


def test_the_driver_is_that_of_the_file_and_paths_are_json() -> None:
    files = {"root": DiskFile('/v/a,b"c\u00e9', "raw", backing="/b", backing_driver="raw")}
    line = render({"disks": [{"name": "root", "path": "/v/x", "readonly": True}]}, disks=files)
    assert line[len(BARE) : len(BARE) + 4] == nodes("root", '/v/a,b\\"c\\u00e9', "raw", readonly=True)
    assert json.loads(line[len(BARE) + 1])["filename"] == '/v/a,b"c\u00e9'


def test_interfaces_and_their_controllers() -> None:
    kinds = ["sata", "scsi", "sata", "scsi"]
    line = render({"disks": [{"size": "1G", "interface": kind} for kind in kinds]})
    devices = [
        "ide-hd,id=disk0,bus=maqet-sata.0,drive=disk-disk0,serial=disk0,bootindex=1",
        "scsi-hd,id=disk1,bus=maqet-scsi.0,scsi-id=0,drive=disk-disk1,serial=disk1,bootindex=2",
        "ide-hd,id=disk2,bus=maqet-sata.1,drive=disk-disk2,serial=disk2,bootindex=3",
        "scsi-hd,id=disk3,bus=maqet-scsi.0,scsi-id=1,drive=disk-disk3,serial=disk3,bootindex=4",
    ]
    expected = ["-device", "virtio-scsi-pci,id=maqet-scsi", "-device", "ich9-ahci,id=maqet-sata"]
    for index, device in enumerate(devices):
        expected += [*nodes(f"disk{index}", f"/v/disk{index}"), "-device", device]
    assert line == [*BARE, *expected]


def test_ide_fills_the_two_channels() -> None:
    line = render({"machine": "pc", "disks": [{"size": "1G", "interface": "ide"}] * 4})
    places = [part for word in line if word.startswith("ide-hd") for part in [word.split(",")[2:4]]]
    assert places == [
        ["bus=ide.0", "unit=0"],
        ["bus=ide.0", "unit=1"],
        ["bus=ide.1", "unit=0"],
        ["bus=ide.1", "unit=1"],
    ]


def test_node_names_fit_into_what_qemu_stores() -> None:
    longest = normalise({"disks": [{"name": "a" * 20, "size": "1G"}]})["disks"][0]["name"]
    assert len(f"{node_name(longest)}-file") <= 31


NETWORKS = [
    {
        "type": "user",
        "hostfwd": [
            {"host_port": 2222, "guest_port": 22},
            {
                "protocol": "udp",
                "host_address": "0.0.0.0",
                "host_port": 53,
                "guest_address": "10.0.2.15",
                "guest_port": 53,
            },
        ],
    },
    {"type": "user", "model": "e1000", "mac": "52:54:00:00:00:FF"},
]


@pytest.mark.parametrize(("arch", "rom"), [("x86_64", ""), ("aarch64", ",romfile=")])
def test_networks(arch: str, rom: str) -> None:
    line = render({"networks": NETWORKS}, host_arch=arch)
    assert line[len(BARE) :] == [
        "-netdev",
        "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp:0.0.0.0:53-10.0.2.15:53",
        "-device",
        f"virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:18:ee:ec{rom}",
        "-netdev",
        "user,id=net1",
        "-device",
        f"e1000,id=nic1,netdev=net1,mac=52:54:00:00:00:ff{rom}",
    ]


CARD = "virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:18:ee:ec"
TWO = End(fds=("9", "10"))


@pytest.mark.parametrize(
    ("network", "end", "backend", "card"),
    [
        (
            {
                "type": "user",
                "network": "10.5.0.0/24",
                "dns": "10.5.0.9",
                "domain": "a.example",
                "hostname": "web1",
                "restrict": True,
                "ipv6": False,
                "mtu": 1400,
            },
            End(),
            "user,id=net0,net=10.5.0.0/24,dns=10.5.0.9,domainname=a.example,hostname=web1,restrict=on,ipv6=off",
            f"{CARD},host_mtu=1400",
        ),
        ({"type": "user", "restrict": False, "ipv6": True}, End(), "user,id=net0", CARD),
        ({"type": "bridge", "bridge": "br0"}, End(fds=("9",)), "tap,id=net0,fd=9", CARD),
        (
            {"type": "bridge", "bridge": "br0", "queues": 2, "mtu": 9000},
            TWO,
            "tap,id=net0,fds=9:10",
            f"{CARD},mq=on,vectors=6,host_mtu=9000",
        ),
        (
            {"type": "tap", "tap": "tap0"},
            End(fds=("9",), vhost=("11",)),
            "tap,id=net0,fd=9,vhost=on,vhostfd=11",
            CARD,
        ),
        (
            {"type": "macvtap", "link": "eth0", "queues": 2},
            End(fds=("9", "10"), vhost=("11", "12")),
            "tap,id=net0,fds=9:10,vhost=on,vhostfds=11:12",
            f"{CARD},mq=on,vectors=6",
        ),
        (
            {"type": "macvtap", "link": "eth0", "mode": "private", "model": "e1000", "mtu": 1400},
            End(fds=("9",)),
            "tap,id=net0,fd=9",
            CARD.replace("virtio-net-pci", "e1000"),
        ),
        (
            {"type": "socket", "peer": "db1"},
            End(socket="/r/a,b/s", far="/r/c/s"),
            "dgram,id=net0,local.type=unix,local.path=/r/a,,b/s,remote.type=unix,remote.path=/r/c/s",
            CARD,
        ),
        (
            {"type": "socket", "local": "127.0.0.1:5001", "remote": "10.1.2.3:5002"},
            End(),
            "socket,id=net0,udp=10.1.2.3:5002,localaddr=127.0.0.1:5001",
            CARD,
        ),
    ],
)
def test_each_type_of_network(network: dict[str, t.Any], end: End, backend: str, card: str) -> None:
    assert render({"networks": [network]}, ends=[end])[len(BARE) :] == ["-netdev", backend, "-device", card]


def test_a_card_for_qmp() -> None:
    """The same properties, as netdev_add and device_add have them: numbers and booleans, what is nested stays so."""
    wanted = effective(
        normalise({"networks": [{"type": "bridge", "bridge": "br0", "queues": 2, "mtu": 1400}]}), "x86_64"
    )
    (network,) = wanted["networks"]
    assert netdev(network, 3, End(fds=("tap0", "tap1"))) == {"type": "tap", "id": "net3", "fds": "tap0:tap1"}
    assert card_of(network, 3, UUID, "x86_64") == {
        "driver": "virtio-net-pci",
        "id": "nic3",
        "netdev": "net3",
        "mac": mac_address(UUID, 3),
        "mq": True,
        "vectors": 6,
        "host_mtu": 1400,
    }
    user = effective(normalise({"networks": NETWORKS}), "x86_64")["networks"][0]
    assert netdev(user, 0, End())["hostfwd"][0] == {"str": "tcp:127.0.0.1:2222-:22"}
    cable = effective(normalise({"networks": [{"type": "socket", "peer": "db1"}]}), "x86_64")["networks"][0]
    assert netdev(cable, 0, End(socket="/a", far="/b"))["remote"] == {"type": "unix", "path": "/b"}


def test_addresses_stay_with_the_vm_and_differ_between_cards() -> None:
    other = UUID.replace("1", "9")
    assert mac_address(UUID, 0) == mac_address(UUID, 0)
    assert len({mac_address(UUID, 0), mac_address(UUID, 1), mac_address(other, 0)}) == 3


def test_extra_arguments_come_last() -> None:
    extra = ["-device", "virtio-rng-pci", "-no-reboot"]
    line = render({"extra_args": extra, "networks": [{"type": "user"}], "display": "vnc", "disks": [{"size": "1G"}]})
    assert line[-3:] == extra


def test_labels_and_accel_auto_leave_no_trace() -> None:
    assert render({"labels": {"a": "b"}, "accel": "auto"}) == BARE


def split_as_qemu_does(option: str) -> list[str]:
    """QEMU's rule: a comma ends a value, two commas are one comma of the value."""
    return [part.replace("\x00", ",") for part in option.replace(",,", "\x00").split(",")]


# A value that begins with a comma cannot follow another value's end, but it always follows "key=".
VALUES = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=30)


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_quoting_keeps_every_value_apart(values: list[str]) -> None:
    option = option_string("driver", [(f"k{index}", value) for index, value in enumerate(values)])
    assert split_as_qemu_does(option) == ["driver", *(f"k{index}={value}" for index, value in enumerate(values))]


@given(VALUES)
def test_a_quoted_value_holds_commas_only_in_pairs(value: str) -> None:
    assert quote(value).replace(",,", "").count(",") == 0
    assert quote(value).count(",") == 2 * value.count(",")


def test_booleans_are_on_and_off() -> None:
    assert option_string("x", [("a", True), ("b", False), ("c", 1)]) == "x,a=on,b=off,c=1"


def test_an_agents_port_comes_after_all_cards_so_that_they_keep_their_addresses() -> None:
    cards: dict[str, t.Any] = {"networks": [{"type": "user"}], "extra_args": ["-device", "virtio-rng-pci"]}
    without, line = render({**cards, "agent": False}), render({**cards, "agent": True})
    assert without == render(cards)
    assert line[: len(without) - 2] == without[:-2] and line[-2:] == without[-2:]
    assert line[len(without) - 2 : -2] == [
        *("-chardev", "socket,id=maqet-agent,fd=7,server=on,wait=off"),
        *("-device", "virtio-serial-pci,id=maqet-agent-bus"),
        *(
            "-device",
            "virtserialport,id=maqet-agent-port,bus=maqet-agent-bus.0,chardev=maqet-agent,name=org.qemu.guest_agent.0",
        ),
    ]


def test_a_seed_comes_behind_the_disks() -> None:
    """Read-only, twice said; without a boot index."""
    cards: dict[str, t.Any] = {"networks": [{"type": "user"}], "agent": True, "disks": [{"size": "1G"}]}
    without, line = render(cards), render({**cards, "cloud_init": {"user_data": {}}}, seed=Source("/a,b", "raw"))
    assert render({**cards, "cloud_init": {}}) == without
    at = line.index("virtio-blk-pci,id=maqet-seed,drive=maqet-seed,serial=cidata") - 5
    assert line[:at] + line[at + 6 :] == without
    assert line[at : at + 6 : 2] == ["-blockdev", "-blockdev", "-device"]
    assert [json.loads(line[at + index]) for index in (1, 3)] == [
        {"driver": "file", "node-name": "maqet-seed-file", "filename": "/a,b", "read-only": True},
        {"driver": "raw", "node-name": "maqet-seed", "file": "maqet-seed-file", "read-only": True},
    ]
    assert any("id=nic0" in word for word in line[:at]) and any("maqet-agent" in word for word in line[at:])


X86_PANIC, ARM_PANIC = ["-device", "pvpanic,id=maqet-panic"], ["-device", "pvpanic-pci,id=maqet-panic"]


@pytest.mark.parametrize(
    ("params", "arch", "tail"),
    [
        ({"reboot_action": "reset"}, "x86_64", []),
        ({"reboot_action": "shutdown"}, "x86_64", ["-action", "reboot=shutdown"]),
        ({"panic_action": "pause"}, "x86_64", [*X86_PANIC, "-action", "panic=pause"]),
        ({"panic_action": "none"}, "x86_64", [*X86_PANIC, "-action", "panic=none"]),
        ({"panic_action": "shutdown"}, "aarch64", [*ARM_PANIC, "-action", "panic=shutdown"]),
        (
            {"panic_action": "shutdown", "reboot_action": "shutdown"},
            "x86_64",
            [*X86_PANIC, "-action", "panic=shutdown,reboot=shutdown"],
        ),
        ({"restart_policy": "always", "shutdown_timeout": 5}, "x86_64", []),
    ],
)
def test_what_qemu_does_at_a_reset_and_a_panic(params: dict[str, t.Any], arch: str, tail: list[str]) -> None:
    assert render(params, host_arch=arch) == [*BARE_OF[arch], *tail]


def test_a_panic_device_comes_behind_all_cards_and_before_what_the_user_adds() -> None:
    cards: dict[str, t.Any] = {"networks": [{"type": "user"}], "agent": True, "extra_args": ["-usb"]}
    without, line = render(cards), render({**cards, "panic_action": "pause"})
    assert line == [*without[:-1], *X86_PANIC, "-action", "panic=pause", "-usb"]


def test_files_that_qemu_gets_open() -> None:
    """It is told of the descriptors, and calls the files by their numbers."""
    line = render(
        {"kernel": "/k", "initrd": "/i", "disks": [{"size": "1G"}, {"size": "1G"}]},
        serial_log="/dev/fdset/1",
        sets=[FdSet(9, 1, "serial"), FdSet(10, 2, "disk-disk0")],
        sources={"disk0": Source("/dev/fdset/2", "raw", device=True)},
        renamed={"kernel": "/proc/self/fd/7"},
    )
    assert [line[index + 1] for index, word in enumerate(line) if word == "-add-fd"] == [
        "fd=9,set=1,opaque=serial",
        "fd=10,set=2,opaque=disk-disk0",
    ]
    assert line[line.index("-kernel") + 1] == "/proc/self/fd/7" and line[line.index("-initrd") + 1] == "/i"
    assert "file,id=maqet-serial,path=/dev/fdset/1,append=on" in line
    blocks = [json.loads(line[index + 1]) for index, word in enumerate(line) if word == "-blockdev"]
    assert [(block["driver"], block.get("filename")) for block in blocks] == [
        ("host_device", "/dev/fdset/2"),
        ("raw", None),
        ("file", "/v/disk1"),
        ("qcow2", None),
    ]


def test_images_below_that_qemu_gets_open() -> None:
    """Each says what is below it, the last one that nothing is: no header is believed."""
    below = (Source("/dev/fdset/3", "qcow2"), Source("/dev/fdset/4", "qcow2"))
    line = render({"disks": [{"size": "1G"}]}, sources={"disk0": Source("/v/disk0", "qcow2", backing=below)})
    block = json.loads(line[[index for index, word in enumerate(line) if word == "-blockdev"][1] + 1])
    assert block["backing"] == {
        "driver": "qcow2",
        "read-only": True,
        "file": {"driver": "file", "filename": "/dev/fdset/3", "read-only": True},
        "backing": {
            "driver": "qcow2",
            "read-only": True,
            "file": {"driver": "file", "filename": "/dev/fdset/4", "read-only": True},
            "backing": None,
        },
    }
    raw = (Source("/dev/fdset/3", "raw"),)
    line = render({"disks": [{"size": "1G"}]}, sources={"disk0": Source("/v/disk0", "qcow2", backing=raw)})
    block = json.loads(line[[index for index, word in enumerate(line) if word == "-blockdev"][1] + 1])
    assert "backing" not in block["backing"]
