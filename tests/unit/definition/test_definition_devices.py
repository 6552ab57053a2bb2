# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices of QEMU's that have no option, and devices of the host."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused


@pytest.mark.parametrize(
    ("option", "items", "intent"),
    [
        ("devices", [], None),
        ("devices", [{"driver": "virtio-rng-pci", "id": None, "properties": {}}], [{"driver": "virtio-rng-pci"}]),
        ("devices", [{"driver": "usb-tablet", "id": "t.0", "properties": {"b": True, "a": 5, "c": "x,y"}}], None),
        ("host_devices", [{"usb": {"vendor": "0951", "product": "1666"}, "pci": None}], None),
        (
            "host_devices",
            [{"usb": {"vendor": "0x0A5C", "product": "0001"}}],
            [{"usb": {"vendor": "0a5c", "product": "0001"}}],
        ),
        ("host_devices", [{"usb": {"bus": "1", "addr": 4, "vendor": None}}], [{"usb": {"bus": 1, "addr": 4}}]),
        ("host_devices", [{"pci": "01:00.0"}, {"pci": "000A:0B:1f.7"}], [
            {"pci": "0000:01:00.0"}, {"pci": "000a:0b:1f.7"},
        ]),
    ],
)  # fmt: skip
def test_normal_form(option: str, items: list[dict[str, t.Any]], intent: list[dict[str, t.Any]] | None) -> None:
    made = normalise({option: items})
    plain = [{key: value for key, value in item.items() if value is not None} for item in items]
    assert made == {option: plain if intent is None else intent}
    assert normalise(made) == made and merge({}, made) == made


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("devices[0]", {}),
        ("devices[0]", "virtio-rng-pci"),
        ("devices[0].bus", {"driver": "a", "bus": "b"}),
        ("devices[0].driver", {"driver": "virtio-rng-pci,max-bytes=5 "}),
        ("devices[0].driver", {"driver": 5}),
        ("devices[0].driver", {"driver": "usb-host"}),
        ("devices[0].driver", {"driver": "vfio-pci"}),
        ("devices[0].id", {"driver": "a", "id": "maqet-rng"}),
        ("devices[0].id", {"driver": "a", "id": "nic0"}),
        ("devices[0].id", {"driver": "a", "id": "5"}),
        ("devices[0].id", {"driver": "a", "id": "a,b"}),
        ("devices[0].properties", {"driver": "a", "properties": ["b"]}),
        ("devices[0].properties", {"driver": "a", "properties": {"a=b": 5}}),
        ("devices[0].properties.id", {"driver": "a", "properties": {"id": "maqet-rng"}}),
        ("devices[0].properties.driver", {"driver": "a", "properties": {"driver": "usb-host"}}),
        ("devices[0].properties.b", {"driver": "a", "properties": {"b": 1.5}}),
        ("devices[0].properties.b", {"driver": "a", "properties": {"b": None}}),
        ("devices[0].properties.b", {"driver": "a", "properties": {"b": "x\ny"}}),
        ("devices[0].properties.chardev", {"driver": "a", "properties": {"chardev": "maqet-monitor"}}),
        ("devices[0].properties.drive", {"driver": "a", "properties": {"drive": "disk-root"}}),
    ],
)
def test_devices_that_cannot_be(refused: Refused, path: str, device: t.Any) -> None:
    refused(path, normalise, {"devices": [device]})


@pytest.mark.parametrize(
    ("path", "devices"),
    [
        ("devices[1].id", [{"driver": "a", "id": "x"}, {"driver": "b", "id": "x"}]),
        ("devices[1].id", [{"driver": "a", "id": "device1"}, {"driver": "b"}]),
    ],
)
def test_two_of_one_name(refused: Refused, path: str, devices: t.Any) -> None:
    refused(path, normalise, {"devices": devices})


def test_a_device_with_the_name_of_a_disk(refused: Refused) -> None:
    params = {"disks": [{"name": "root", "size": "1G"}], "devices": [{"driver": "a", "id": "root"}]}
    refused("devices[0].id", merge, {}, normalise(params))


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("host_devices[0]", {}),
        ("host_devices[0]", {"usb": {"bus": 1, "addr": 2}, "pci": "01:00.0"}),
        ("host_devices[0].scsi", {"scsi": "1:0:0:0"}),
        ("host_devices[0].usb", {"usb": {"vendor": "0951"}}),
        ("host_devices[0].usb", {"usb": {"vendor": "0951", "product": "1666", "bus": 1, "addr": 2}}),
        ("host_devices[0].usb.vendor", {"usb": {"vendor": 951, "product": "1666"}}),
        ("host_devices[0].usb.product", {"usb": {"vendor": "0951", "product": "166"}}),
        ("host_devices[0].usb.bus", {"usb": {"bus": 0, "addr": 1}}),
        ("host_devices[0].usb.addr", {"usb": {"bus": 1, "addr": 128}}),
        ("host_devices[0].pci", {"pci": "01:00"}),
        ("host_devices[0].pci", {"pci": "0000:01:20.0"}),
        ("host_devices[0].pci", {"pci": "0000:01:00.8"}),
    ],
)
def test_devices_of_the_host_that_cannot_be(refused: Refused, path: str, device: t.Any) -> None:
    refused(path, normalise, {"host_devices": [device]})


def test_one_device_of_the_host_twice(refused: Refused) -> None:
    refused("host_devices[1]", normalise, {"host_devices": [{"pci": "01:00.0"}, {"pci": "0000:01:00.0"}]})
