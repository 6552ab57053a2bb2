# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the machine on the command line, word for word.

That a real QEMU takes lines of these shapes is shown in tests/integration/local/test_accepted.py.
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import Place, command_line
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile

ARCHES = {"x86_64": "q35", "aarch64": "virt,gic-version=max"}


def render(params: dict[str, t.Any], arch: str = "x86_64", **changes: t.Any) -> list[str]:
    facts: dict[str, t.Any] = {
        "name": "web",
        "uuid": "11111111-2222-3333-4444-555555555555",
        "binary": "qemu",
        "accel": "tcg",
        "monitor_fd": 5,
        "direct_fd": 6,
        "agent_fd": 7,
        "serial_fd": 8,
        "serial_log": "/v,1/serial.log",
        "vnc_socket": "/r,1/vnc.sock",
        "host_arch": arch,
        "disks": {name: DiskFile(f"/v/{name}", "raw") for name in ("a", "b")},
    }
    return command_line(merge({}, normalise(params)), Place(**{**facts, **changes}))


def more(params: dict[str, t.Any], arch: str = "x86_64", **changes: t.Any) -> list[str]:
    """The words that are there with these options and are not without."""
    bare, line = render({}, arch), render(params, arch, **changes)
    return [
        word
        for number, word in enumerate(line)
        if word not in bare or (word[0] == "-" and line[number + 1] not in bare)
    ]


def value(params: dict[str, t.Any], option: str, **changes: t.Any) -> str:
    """The value of an option that is there once."""
    line = render(params, **changes)
    assert line.count(option) == 1
    return line[line.index(option) + 1]


@pytest.mark.parametrize(
    ("params", "smp"),
    [
        ({}, "cpus=1"),
        ({"cpus": 3}, "cpus=3"),
        ({"cpus": 2, "cpus_max": 8}, "cpus=2,maxcpus=8"),
        ({"cpus": 4, "cpu_topology": {"cores": 2}}, "cpus=4,sockets=2,cores=2,threads=1"),
        ({"cpus": 4, "cpu_topology": {"sockets": 1, "cores": 2, "threads": 2}}, "cpus=4,sockets=1,cores=2,threads=2"),
        ({"cpus": 8, "cpu_topology": {"dies": 2, "cores": 2}}, "cpus=8,sockets=2,dies=2,cores=2,threads=1"),
        ({"cpus": 1, "cpus_max": 8, "cpu_topology": {"cores": 4}}, "cpus=1,maxcpus=8,sockets=2,cores=4,threads=1"),
        ({"cpus": 4, "cpu_topology": {}}, "cpus=4"),
    ],
)
def test_processors(params: dict[str, t.Any], smp: str) -> None:
    assert value(params, "-smp") == smp


@pytest.mark.parametrize(
    ("params", "accel", "cpu"),
    [
        ({"cpu_features": {"vmx": False, "aes": True, "phys_bits": 40}}, "tcg", "max,aes=on,phys-bits=40,vmx=off"),
        ({"cpu_features": {"vmx": True}}, "kvm", "host,vmx=on"),
        ({"cpu_model": "EPYC,-svm", "cpu_features": {"vmx": False}}, "tcg", "EPYC,-svm,vmx=off"),
        ({"cpu_features": {"hv-vendor-id": "abc"}}, "tcg", "max,hv-vendor-id=abc"),
        ({"cpu_features": {}}, "tcg", "max"),
    ],
)
def test_features(params: dict[str, t.Any], accel: str, cpu: str) -> None:
    assert value(params, "-cpu", accel=accel) == cpu


@pytest.mark.parametrize(
    ("params", "accel", "cpu"),
    [
        ({}, "tcg", "max,pauth-impdef=on"),
        ({"cpu_features": {"sve": False}}, "tcg", "max,pauth-impdef=on,sve=off"),
        ({"cpu_features": {"pauth": False}}, "tcg", "max,pauth=off"),
        ({"cpu_features": {"pauth-impdef": False}}, "tcg", "max,pauth-impdef=off"),
        ({"cpu_model": "max"}, "tcg", "max"),
        ({"cpu_model": "cortex-a72"}, "tcg", "cortex-a72"),
        ({}, "kvm", "host"),
    ],
)
def test_signed_pointers_of_emulated_arm(params: dict[str, t.Any], accel: str, cpu: str) -> None:
    assert value(params, "-cpu", accel=accel, host_arch="aarch64") == cpu


@pytest.mark.parametrize("arch", ARCHES)
def test_huge_pages(arch: str) -> None:
    params = {"memory": "1G", "hugepages": "2M"}
    properties = "id=maqet-memory,size=1024M,share=off,hugetlb=on,hugetlbsize=2048K"
    assert value(params, "-object", arch=arch) == f"memory-backend-memfd,{properties}"
    assert value(params, "-machine", arch=arch) == f"{ARCHES[arch]},memory-backend=maqet-memory"
    assert value(params, "-m", arch=arch) == "size=1024M"


BALLOON = "virtio-balloon-pci,id=maqet-balloon,deflate-on-oom=on,free-page-reporting"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"balloon": True}, ["-device", f"{BALLOON}=on"]),
        ({"balloon": True, "balloon_target": "128M"}, ["-device", f"{BALLOON}=on"]),
        ({"balloon": False, "rng": False, "watchdog": {}, "clock": {}, "smbios": {}, "boot": {}, "vnc": {}}, []),
        ({"devices": [], "host_devices": [], "cpu_topology": {}, "cpu_features": {}}, []),
        (
            {"rng": True},
            [
                *("-object", "rng-builtin,id=maqet-rng-source"),
                *("-device", "virtio-rng-pci,id=maqet-rng,rng=maqet-rng-source"),
            ],
        ),
        ({"watchdog": {"model": "ib700"}}, ["-device", "ib700,id=maqet-watchdog", "-action", "watchdog=reset"]),
        ({"watchdog": {"action": "pause"}}, ["-device", "i6300esb,id=maqet-watchdog", "-action", "watchdog=pause"]),
        ({"clock": {"base": "localtime"}}, ["-rtc", "base=localtime"]),
        (
            {"clock": {"driftfix": "slew", "source": "vm", "base": "2030-01-31"}},
            ["-rtc", "base=2030-01-31T00:00:00,clock=vm,driftfix=slew"],
        ),
        (
            {"smbios": {"sku": "s", "manufacturer": "A, B", "oem_strings": ["a=b,c", "d"]}},
            ["-smbios", "type=1,manufacturer=A,, B,sku=s", "-smbios", "type=11,value=a=b,,c,value=d"],
        ),
        ({"smbios": {"oem_strings": []}}, []),
        ({"boot": {"menu": True}}, ["-boot", "menu=on"]),
        ({"boot": {"menu": False}}, ["-boot", "menu=off"]),
        (
            {"devices": [
                {"driver": "qemu-xhci", "id": "usb", "properties": {"streams": False, "p2": 8}},
                {"driver": "usb-tablet", "properties": {"serial": "a,b"}},
            ]},
            ["-device", "qemu-xhci,id=usb,p2=8,streams=off", "-device", "usb-tablet,id=device1,serial=a,,b"],
        ),
        (
            {"host_devices": [{"pci": "01:00.0"}, {"usb": {"bus": 1, "addr": 2}}]},
            [
                *("-device", "qemu-xhci,id=maqet-usb"),
                *("-device", "vfio-pci,id=maqet-host0,host=0000:01:00.0"),
                *("-device", "usb-host,id=maqet-host1,bus=maqet-usb.0,hostdevice=/dev/fdset/3"),
            ],
        ),
    ],
)  # fmt: skip
def test_words(params: dict[str, t.Any], words: list[str]) -> None:
    assert more(params, host_nodes={1: "/dev/fdset/3"}) == words


def test_one_usb_controller_is_enough() -> None:
    """Arm's display brings one along."""
    params = {"display": "headless", "host_devices": [{"usb": {"bus": 1, "addr": 2}}]}
    for arch in ARCHES:
        line = render(params, arch, host_nodes={0: "/dev/fdset/3"})
        assert line.count("qemu-xhci,id=maqet-usb") == 1
        assert line.index("qemu-xhci,id=maqet-usb") < line.index(
            "usb-host,id=maqet-host0,bus=maqet-usb.0,hostdevice=/dev/fdset/3"
        )


def test_what_is_added_stands_behind_all_cards_and_before_the_users_own_words() -> None:
    """So that guests find their disks and cards where they were."""
    base: dict[str, t.Any] = {"networks": [{"type": "user"}], "agent": True, "panic_action": "pause"}
    added = {"rng": True, "balloon": True, "watchdog": {"action": "none"}, "devices": [{"driver": "x"}]}
    without, line = render(base), render({**base, **added, "extra_args": ["-usb"]})
    assert line[: len(without)] == without and line[-1] == "-usb"
    drivers = [word.split(",")[0] for word in line[len(without) :] if word[0] != "-"]
    assert drivers == ["rng-builtin", "virtio-rng-pci", "virtio-balloon-pci", "i6300esb", "watchdog=none", "x"]


@pytest.mark.parametrize(
    ("order", "places"),
    [
        (None, {"a": 1, "b": 2}),
        ([], {"a": 1, "b": 2}),
        (["b"], {"a": 2, "b": 1}),
        (["nic1", "b"], {"a": 3, "b": 2, "nic1": 1}),
        (["a", "networks"], {"a": 1, "b": 4, "nic0": 2, "nic1": 3}),
    ],
)
def test_the_order_to_boot_in(order: list[str] | None, places: dict[str, int]) -> None:
    line = render(
        {
            "disks": [{"name": "a", "size": "1G"}, {"name": "b", "size": "1G"}],
            "networks": [{"type": "user"}] * 2,
            "boot": {} if order is None else {"order": order},
        }
    )
    found = {}
    for word in line:
        pairs = dict(pair.split("=", 1) for pair in word.split(",") if "=" in pair)
        if "bootindex" in pairs:
            found[pairs["id"]] = int(pairs["bootindex"])
    assert found == places


def test_an_order_leaves_the_intent_alone() -> None:
    intent = merge({}, normalise({"disks": [{"name": "a", "size": "1G"}], "boot": {"order": ["a"]}}))
    before = repr(intent)
    command_line(intent, Place("w", "u", "q", "tcg", 5, 6, "/s", "/v", "x86_64", disks={"a": DiskFile("/a", "raw")}))
    assert repr(intent) == before


def test_a_serial_port_with_a_socket() -> None:
    chardev = "socket,id=maqet-serial,fd=8,server=on,wait=off,logfile=/v,,1/serial.log,logappend=on"
    assert more({"serial": "socket"}) == ["-chardev", chardev]
    assert value({"serial": "socket"}, "-serial") == "chardev:maqet-serial"


@pytest.mark.parametrize(
    ("vnc", "where"),
    [
        ({}, "unix:/r,,1/vnc.sock"),
        ({"password": "Hush"}, "unix:/r,,1/vnc.sock,password-secret=maqet-vnc-password"),
        ({"password": "Hush", "port": 5901}, "127.0.0.1:1,password-secret=maqet-vnc-password"),
        ({"password": "Hush", "port": 5900, "address": "::1"}, "[::1]:0,password-secret=maqet-vnc-password"),
    ],
)
def test_vnc(vnc: dict[str, t.Any], where: str) -> None:
    secret = "/proc/self/fd/9" if "password" in vnc else None
    line = render({"display": "vnc", "vnc": vnc}, vnc_password=secret)
    assert line[line.index("-vnc") + 1] == where
    assert ("secret,id=maqet-vnc-password,file=/proc/self/fd/9" in line) == bool(secret)
    assert "Hush" not in " ".join(line)


@pytest.mark.parametrize(
    ("arch", "word", "device"),
    [
        ("x86_64", "", "VGA"),
        ("x86_64", "vga", "VGA"),
        ("x86_64", "virtio", "virtio-vga"),
        ("x86_64", "qxl", "qxl-vga"),
        ("aarch64", "", "virtio-gpu-pci"),
        ("aarch64", "ramfb", "ramfb"),
    ],
)
def test_graphics(arch: str, word: str, device: str) -> None:
    assert f"{device},id=maqet-video" in render({"display": "headless", "video": word}, arch)
