# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of QEMU's list of devices and of the host's hardware before anything is touched."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu_devices
from ansible_collections.maqet.qemu.plugins.module_utils.vm import preflight_hardware

asked: list[str] = []


@pytest.fixture(autouse=True)
def emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator with three devices."""
    asked.clear()
    kinds = {"max-bytes": "uint64", "multifunction": "bool", "disable-legacy": "OnOffAuto", "romfile": "str"}

    def drivers(_binary: str) -> list[str]:
        asked.append("?")
        return ["virtio-rng-pci", "virtio-rng", "VGA"]

    def properties(_binary: str, driver: str) -> dict[str, str]:
        asked.append(driver)
        return kinds

    monkeypatch.setattr(qemu_devices, "drivers", drivers)
    monkeypatch.setattr(qemu_devices, "properties", properties)


def check(**intent: t.Any) -> None:
    preflight_hardware.check_devices(effective(intent, "x86_64"), "/bin/qemu")


def device(**properties: t.Any) -> dict[str, t.Any]:
    return {"driver": "virtio-rng-pci", "properties": properties}


def test_what_qemu_knows() -> None:
    check(devices=[device(multifunction=True), device(**{"disable-legacy": True, "max-bytes": 5, "romfile": "5"})])
    check(devices=[{"driver": "virtio-rng"}, device(bus="maqet-port9")])
    assert asked == ["?", "virtio-rng-pci", "?", "virtio-rng-pci"], "each question once"
    asked.clear()
    check()
    assert asked == [], "a VM without such devices asks nothing"


@pytest.mark.parametrize(
    ("intent", "option", "words"),
    [
        ({"devices": [{"driver": "virtio-rgn"}]}, "devices[0].driver", "Did you mean virtio-rng"),
        ({"devices": [{"driver": "zzz"}]}, "devices[0].driver", "See '/bin/qemu -device help'"),
        ({"devices": [device(maxbytes=5)]}, "devices[0].properties.maxbytes", "Did you mean max-bytes"),
        ({"devices": [device(x=5)]}, "devices[0].properties.x", "See '/bin/qemu -device virtio-rng-pci,help'"),
        ({"devices": [device(bus=True)]}, "devices[0].properties.bus", "QEMU wants str"),
        ({"devices": [device(romfile=True)]}, "devices[0].properties.romfile", "QEMU wants str"),
        ({"devices": [device(multifunction="yes")]}, "devices[0].properties.multifunction", "Write true or false"),
        ({"devices": [device(), device(multifunction=1)]}, "devices[1].properties.multifunction", "not a boolean"),
        ({"video": "qxl", "display": "headless"}, "video", "needs QEMU's qxl-vga, which this host lacks"),
    ],
)
def test_what_it_does_not(intent: dict[str, t.Any], option: str, words: str) -> None:
    with pytest.raises(MaqetError) as caught:
        check(**intent)
    assert (caught.value.error_code, caught.value.details["option"]) == ("invalid_option", option)
    assert words in str(caught.value)


def pages(root: pathlib.Path, free: int) -> None:
    folder = root / "sys/kernel/mm/hugepages/hugepages-2048kB"
    folder.mkdir(parents=True)
    for name in ("free_hugepages", "resv_hugepages", "nr_overcommit_hugepages", "surplus_hugepages"):
        (folder / name).write_text(str(free if name == "free_hugepages" else 0))


def start(root: pathlib.Path, replaced: dict[str, t.Any] | None = None, **intent: t.Any) -> None:
    old = [] if replaced is None else [effective(replaced, "x86_64")]
    preflight_hardware.check_start(effective(intent, "x86_64"), old, str(root))


def test_huge_pages_that_are_free(tmp_path: pathlib.Path) -> None:
    pages(tmp_path, 32)
    start(tmp_path, memory=64, hugepages=2048)
    with pytest.raises(MaqetError, match=r"needs 64 pages for 128M of memory, and 32 are free\. Raise .* by 32"):
        start(tmp_path, memory=128, hugepages=2048)
    start(tmp_path, {"memory": 64, "hugepages": 2048}, memory=128, hugepages=2048)
    with pytest.raises(MaqetError, match="hugepages: '2M'"):
        start(tmp_path, {"memory": 64}, memory=128, hugepages=2048)


def test_huge_pages_that_the_host_has_not(tmp_path: pathlib.Path) -> None:
    with pytest.raises(MaqetError, match="has none at all"):
        start(tmp_path, hugepages=2048)
    pages(tmp_path, 1)
    with pytest.raises(MaqetError, match=r"hugepages: '1G' is no size .*Choose one of: 2M"):
        start(tmp_path, memory=1024, hugepages=1 << 20)


def test_devices_of_the_host_are_looked_for(tmp_path: pathlib.Path) -> None:
    for index, found in enumerate(({"usb": {"bus": 1, "addr": 2}}, {"pci": "0000:01:00.0"})):
        with pytest.raises(MaqetError) as caught:
            start(tmp_path, host_devices=[found])
        assert caught.value.details["option"] == f"host_devices[0].{('usb', 'pci')[index]}"
