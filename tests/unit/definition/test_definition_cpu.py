# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processors: their number, arrangement and features."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused


@pytest.mark.parametrize(
    ("params", "intent"),
    [
        ({"cpus_max": 0}, {"cpus_max": ""}),
        ({"cpus_max": "8"}, {"cpus_max": 8}),
        ({"cpu_topology": {"threads": 2, "sockets": 1, "dies": None}}, {"cpu_topology": {"sockets": 1, "threads": 2}}),
        ({"cpu_topology": {}}, {"cpu_topology": {}}),
        ({"cpu_features": {"vmx": False, "aes": "on", "phys_bits": 40, "hv-vendor-id": "abc"}}, None),
    ],
)
def test_normal_form(params: dict[str, t.Any], intent: dict[str, t.Any] | None) -> None:
    features = {"aes": True, "hv-vendor-id": "abc", "phys-bits": 40, "vmx": False}
    made = normalise(params)
    assert made == ({"cpu_features": features} if intent is None else intent)
    assert normalise(made) == made
    assert list(made.get("cpu_features", {})) == (list(features) if intent is None else [])


@pytest.mark.parametrize(
    ("option", "params"),
    [
        ("cpus_max", {"cpus_max": 4097}),
        ("cpus_max", {"cpus_max": -1}),
        ("cpu_topology", {"cpu_topology": 4}),
        ("cpu_topology.clusters", {"cpu_topology": {"clusters": 2}}),
        ("cpu_topology.cores", {"cpu_topology": {"cores": 0}}),
        ("cpu_features", {"cpu_features": ["vmx"]}),
        ("cpu_features", {"cpu_features": {"+vmx": True}}),
        ("cpu_features", {"cpu_features": {5: True}}),
        ("cpu_features.vmx", {"cpu_features": {"vmx": 1.5}}),
        ("cpu_features.vmx", {"cpu_features": {"vmx": "on,kvm=off"}}),
        ("cpu_features.vmx", {"cpu_features": {"vmx": None}}),
        ("cpu_features.a-b", {"cpu_features": {"a_b": True, "a-b": True}}),
    ],
)
def test_what_cannot_be(refused: Refused, option: str, params: dict[str, t.Any]) -> None:
    refused(option, normalise, params)


@pytest.mark.parametrize(
    "params",
    [
        {"cpus": 4, "cpu_topology": {"cores": 4}},
        {"cpus": 4, "cpu_topology": {"cores": 2}},
        {"cpus": 4, "cpu_topology": {"sockets": 2, "cores": 2, "threads": 1}},
        {"cpus": 3, "cpus_max": 8, "cpu_topology": {"sockets": 2, "cores": 4}},
        {"cpus": 4, "cpus_max": 4},
        {"cpu_model": "EPYC,+aes", "cpu_features": {"vmx": False}},
    ],
)
def test_what_goes_together(params: dict[str, t.Any]) -> None:
    assert merge({}, normalise(params)) == normalise(params)


@pytest.mark.parametrize(
    ("option", "params", "words"),
    [
        ("cpus_max", {"cpus": 4, "cpus_max": 2}, "Give 4 or more"),
        ("cpu_topology", {"cpu_topology": {"cores": 2}}, "cpus is 1. Give cpus: 2"),
        ("cpu_topology", {"cpus": 4, "cpu_topology": {"sockets": 1, "cores": 2}}, "1 sockets * 2 cores = 2 processors"),
        ("cpu_topology", {"cpus": 4, "cpus_max": 8, "cpu_topology": {"cores": 3}}, "cpus_max is 8"),
        ("cpu_topology", {"cpus": 2, "cpus_max": 8, "cpu_topology": {"sockets": 2}}, "Give cpus_max: 2"),
        ("cpu_features.aes", {"cpu_model": "EPYC,+aes", "cpu_features": {"aes": False}}, "in one of the two"),
        ("cpu_features.a-b", {"cpu_model": "EPYC,a_b=off", "cpu_features": {"a-b": True}}, "is in cpu_model too"),
    ],
)
def test_what_does_not(refused: Refused, option: str, params: dict[str, t.Any], words: str) -> None:
    assert words in str(refused(option, merge, {}, normalise(params)))


def test_a_half_that_is_stored_counts(refused: Refused) -> None:
    stored = merge({}, normalise({"cpus": 4, "cpu_topology": {"sockets": 1, "cores": 4}}))
    refused("cpu_topology", merge, stored, normalise({"cpus": 8}))
    assert "cpu_topology" in merge(stored, normalise({"cpus": 4}))
    assert merge(merge({}, normalise({"cpus": 2, "cpus_max": 4})), normalise({"cpus_max": 0})) == {"cpus": 2}
