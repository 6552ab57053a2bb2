# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware of a host, which is a tree of files here."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import hardware


def put(root: pathlib.Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", "ascii")


def link(path: pathlib.Path, to: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


def stick(root: pathlib.Path, entry: str, vendor: str, product: str, bus: int, addr: int) -> None:
    where = root / "sys/bus/usb/devices" / entry
    put(where, idVendor=vendor, idProduct=product, busnum=str(bus), devnum=str(addr))
    put(root / "sys/bus/usb/devices" / f"{entry}:1.0", bInterfaceNumber="00")
    put(root / "dev/bus/usb" / f"{bus:03d}", **{f"{addr:03d}": ""})


def test_usb(tmp_path: pathlib.Path) -> None:
    stick(tmp_path, "1-1", "0951", "1666", 1, 4)
    stick(tmp_path, "2-1", "0a5c", "0001", 2, 11)
    node = hardware.usb_node("o", {"vendor": "0a5c", "product": "0001"}, str(tmp_path))
    assert node == str(tmp_path / "dev/bus/usb/002/011")
    assert hardware.usb_node("o", {"bus": 1, "addr": 4}, str(tmp_path)).endswith("usb/001/004")


def test_usb_that_is_not_there_or_twice(tmp_path: pathlib.Path) -> None:
    stick(tmp_path, "1-1", "0951", "1666", 1, 4)
    stick(tmp_path, "1-2", "0951", "1666", 1, 5)
    with pytest.raises(MaqetError, match=r"bus 1 addr 4 and bus 1 addr 5\. Give one of these"):
        hardware.usb_node("o", {"vendor": "0951", "product": "1666"}, str(tmp_path))
    for wanted in ({"bus": 1, "addr": 6}, {"vendor": "0951", "product": "0001"}):
        with pytest.raises(MaqetError, match="is no USB device of this host"):
            hardware.usb_node("o", wanted, str(tmp_path))
    with pytest.raises(MaqetError, match="is no USB device"):
        hardware.usb_node("o", {"bus": 1, "addr": 4}, str(tmp_path / "nothing"))
    (tmp_path / "dev/bus/usb/001/005").unlink()
    with pytest.raises(MaqetError, match="has no node"):
        hardware.usb_node("o", {"bus": 1, "addr": 5}, str(tmp_path))


CARD, BROTHER, BRIDGE = "0000:01:00.0", "0000:01:00.1", "0000:00:01.0"


def card(root: pathlib.Path, address: str, driver: str | None, device_class: str = "0x030000") -> None:
    where, group = root / "sys/bus/pci/devices" / address, root / "sys/kernel/iommu_groups/7"
    put(where, **{"class": device_class})
    link(where / "iommu_group", str(group))
    link(group / "devices" / address, str(where))
    if driver:
        link(where / "driver", f"../../drivers/{driver}")


def test_pci_that_is_ready(tmp_path: pathlib.Path) -> None:
    card(tmp_path, CARD, "vfio-pci")
    card(tmp_path, BROTHER, None)
    card(tmp_path, BRIDGE, "pcieport", "0x060400")
    put(tmp_path / "dev/vfio", **{"7": ""})
    assert hardware.vfio_node("o", CARD, str(tmp_path)) == str(tmp_path / "dev/vfio/7")


@pytest.mark.parametrize(
    ("drivers", "words"),
    [
        ({CARD: "nouveau"}, f"is bound to nouveau. Bind {CARD} to vfio-pci"),
        ({CARD: None}, "is bound to no driver"),
        (
            {CARD: "vfio-pci", BROTHER: "snd_hda_intel"},
            f"is in IOMMU group 7 with {BROTHER}, which is bound to snd_hda",
        ),
        ({CARD: "vfio-pci"}, "has no node"),
        ({}, "is no PCI device"),
    ],
)
def test_pci_that_is_not(tmp_path: pathlib.Path, drivers: dict[str, str | None], words: str) -> None:
    for address, driver in drivers.items():
        card(tmp_path, address, driver)
    with pytest.raises(MaqetError) as caught:
        hardware.vfio_node("host_devices[0].pci", CARD, str(tmp_path))
    assert caught.value.details["option"] == "host_devices[0].pci" and words in str(caught.value)


def test_a_host_without_iommu(tmp_path: pathlib.Path) -> None:
    put(tmp_path / "sys/bus/pci/devices" / CARD, **{"class": "0x030000"})
    with pytest.raises(MaqetError, match="the host's IOMMU is off"):
        hardware.vfio_node("o", CARD, str(tmp_path))


def pages(root: pathlib.Path, kib: int, **numbers: t.Any) -> None:
    names = ("free_hugepages", "resv_hugepages", "nr_overcommit_hugepages", "surplus_hugepages")
    put(
        root / "sys/kernel/mm/hugepages" / f"hugepages-{kib}kB",
        **{name: str(numbers.get(name.split("_hugepages", 1)[0], 0)) for name in names},
    )


def test_huge_pages(tmp_path: pathlib.Path) -> None:
    assert hardware.huge_page_sizes(str(tmp_path)) == []
    pages(tmp_path, 1048576)
    pages(tmp_path, 2048, free=10, resv=3, nr_overcommit=5, surplus=1)
    assert hardware.huge_page_sizes(str(tmp_path)) == [2048, 1048576]
    assert hardware.huge_pages_left(2048, str(tmp_path)) == 10 - 3 + 4
    assert hardware.huge_pages_left(1048576, str(tmp_path)) == 0
    with pytest.raises(MaqetError, match="cannot be read"):
        hardware.huge_pages_left(4096, str(tmp_path))
