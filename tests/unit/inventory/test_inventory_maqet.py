# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin's own part; what it finds is tested before real hosts in tests/integration."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible.utils.unsafe_proxy import AnsibleUnsafe
from ansible_collections.maqet.qemu.plugins.inventory import maqet
from ansible_collections.maqet.qemu.plugins.plugin_utils import inventory_vms, inventory_ways

OPTIONS: dict[str, dict[str, t.Any]] = yaml.safe_load(maqet.DOCUMENTATION)["options"]

try:
    from ansible._internal._datatag._tags import TrustedAsTemplate
except ImportError:  # ansible-core 2.18
    TrustedAsTemplate = None


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("maqet.yml", True),
        ("lab.maqet.yaml", True),
        ("20-maqet.yml", True),
        ("maqet.yml.bak", False),
        ("maqet.json", False),
        ("hosts.yml", False),
    ],
)
def test_our_files_by_their_names(tmp_path: pathlib.Path, name: str, ours: bool) -> None:
    path = tmp_path / name
    assert not maqet.InventoryModule().verify_file(str(path)), "it is not there"
    path.touch()
    assert maqet.InventoryModule().verify_file(str(path)) is ours


def test_choices_are_what_the_code_knows() -> None:
    assert OPTIONS["group_by"]["choices"] == OPTIONS["group_by"]["default"] == list(inventory_vms.GROUPINGS)
    assert OPTIONS["address_families"]["choices"] == list(inventory_ways.FAMILIES)
    assert OPTIONS["address_sources"]["choices"] == list(inventory_ways.SOURCES)


# These are promises.
DEFAULTS = {
    "timeout": 15,
    "forks": 25,
    "addresses": True,
    "address_families": ["ipv4", "ipv6"],
    "address_sources": ["agent", "lease", "neighbours"],
    "prefer_networks": [],
    "forwarded_ports": True,
    "hostname": "maqet_name",
    "on_collision": "qualify",
    "merge_hosts": False,
    "group_prefix": "maqet_",
    "group_by": ["state", "labels", "hypervisor"],
    "keep_unreachable": False,
}


def test_defaults() -> None:
    assert {name: option["default"] for name, option in OPTIONS.items() if "default" in option} == DEFAULTS
    assert {name for name, option in OPTIONS.items() if option.get("required")} == {"plugin", "hypervisors"}


def test_every_variable_is_documented() -> None:
    (record,) = inventory_vms.records([{"name": "web"}])
    for name in inventory_vms.variables(record, "h1", stale=False):
        assert f"C({name})" in maqet.DOCUMENTATION, name


@pytest.mark.parametrize("text", ["{{ x }}", "lookup('ansible.builtin.env', 'HOME')", "a b", "a\nb", "{% if %}", "é"])
def test_what_could_be_a_template_or_an_expression_is_none(text: str) -> None:
    found = maqet._untrusted({"a": [text]})
    assert found == {"a": [text]}
    if TrustedAsTemplate is None:
        assert isinstance(found["a"][0], AnsibleUnsafe)
    else:
        assert not TrustedAsTemplate.is_tagged_on(found["a"][0])


def test_what_is_no_text_stays() -> None:
    assert maqet._untrusted({"a": [1, None, True, "192.0.2.1"]}) == {"a": [1, None, True, "192.0.2.1"]}
