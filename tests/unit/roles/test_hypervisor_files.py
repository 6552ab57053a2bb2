# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role `hypervisor`: its small programs, and its names against those of the modules."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import types
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import SYSTEM

ROLE = Path(__file__).resolve().parents[3] / "roles/hypervisor"


def program(name: str) -> types.ModuleType:
    """One of the programs that the role sends to hosts."""
    spec = importlib.util.spec_from_file_location(f"hypervisor_{name}", ROLE / "files" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while they are made
    spec.loader.exec_module(module)
    return module


bridge, environment, kernel = program("bridge"), program("environment"), program("kernel")
SSH, NETWORKD = "192.0.2.10", "systemd-networkd"
#: A host that is reached over eth0 and has its default route there; eth1 is free; bond0 has eth2; vlan7 lies on eth3.
SEEN = bridge.Seen(
    links={name: f"52:54:00:00:00:0{n}" for n, name in enumerate("lo eth0 eth1 eth2 eth3 bond0 vlan7".split())},
    masters={"eth2": "bond0"},
    lower={"bond0": frozenset({"eth2"}), "vlan7": frozenset({"eth3"})},
    bridges=frozenset(),
    addresses={SSH: "eth0", "127.0.0.1": "lo"},
    default=frozenset({"eth0"}),
    connection=SSH,
    backends=frozenset({NETWORKD}),
    own=frozenset(),
    taps=frozenset({"tap0"}),
)
MOVED = {"name": "br0", "port": "eth0", "move_connection": True, "addresses": [f"{SSH}/24"], "gateways": ["192.0.2.1"]}
#: The same host after that.
AFTER = dataclasses.replace(
    SEEN,
    links={**SEEN.links, "br0": "52:54:00:00:00:01"},
    masters={**SEEN.masters, "eth0": "br0", "tap0": "br0"},
    lower={**SEEN.lower, "br0": frozenset({"eth0"})},
    bridges=frozenset({"br0"}),
    addresses={SSH: "br0"},
    default=frozenset({"br0"}),
    own=frozenset({"br0"}),
)


def but(options: t.Mapping[str, t.Any], **others: t.Any) -> dict[str, t.Any]:
    return {key: value for key, value in {**options, **others}.items() if value is not None}


@pytest.mark.parametrize(
    ("options", "seen", "moves"),
    [
        ({"name": "br0"}, SEEN, False),
        ({"name": "br0", "port": "eth1"}, SEEN, False),
        (MOVED, SEEN, True),
        ({"name": "br0", "port": "eth0", "move_connection": True, "dhcp": True}, SEEN, True),
        (MOVED, AFTER, False),
        (but(MOVED, move_connection=None), AFTER, False),  # consent is asked for once
        ({"name": "br1", "port": "eth1"}, AFTER, False),
        ({"name": "br0", "port": "bond0"}, SEEN, False),
        # reached from a VM on a bridge without a port
        (
            {"name": "br0", "addresses": [f"{SSH}/24"], "gateways": ["192.0.2.1"]},
            dataclasses.replace(AFTER, masters={"tap0": "br0"}),
            False,
        ),
        ({"name": "br0", "port": "eth0"}, dataclasses.replace(SEEN, default=frozenset(), connection=""), False),
    ],
)
def test_a_bridge_that_cuts_nothing(options: dict[str, t.Any], seen: t.Any, moves: bool) -> None:
    answer = bridge.decide(options, "auto", seen)
    assert (answer["refusal"], answer["backend"], answer["moves"]) == ("", NETWORKD, moves)
    assert answer["mac"] == seen.links.get(options.get("port"), "")


@pytest.mark.parametrize(
    ("options", "seen", "words"),
    [
        ({"name": "br0", "port": "eth0"}, SEEN, "port: eth0 carries the default route over eth0, which would be cut"),
        ({"name": "br0", "port": "eth0"}, dataclasses.replace(SEEN, default=frozenset()), f"connection to {SSH}"),
        (but(MOVED, addresses=["192.0.2.99/24"]), SEEN, f"does not hold {SSH}"),
        (but(MOVED, addresses=None), SEEN, f"does not hold {SSH}"),
        (but(MOVED, gateways=None), SEEN, "gateways: empty"),
        (but(MOVED, addresses=["192.0.2.99/24"]), AFTER, f"does not hold {SSH}"),
        (but(MOVED, port="eth1"), AFTER, "br0 has the port eth0 and carries"),
        (but(MOVED, port=None), AFTER, "br0 has the port eth0 and carries"),
        (
            {"name": "br0", "port": "eth3", "move_connection": True, "dhcp": True},
            dataclasses.replace(SEEN, addresses={SSH: "vlan7"}, default=frozenset()),
            "by way of vlan7, which lies on it",
        ),
        ({"name": "br0", "port": "eth2"}, SEEN, "eth2 belongs to bond0"),
        ({"name": "br0", "port": "eth9"}, SEEN, "eth9 cannot be a port of br0 on this host, which has bond0, eth0"),
        ({"name": "br0", "port": "lo"}, SEEN, "lo cannot be a port"),
        ({"name": "bond0"}, SEEN, "bond0 is there already, an interface that this role did not make"),
        ({"name": "br0"}, dataclasses.replace(AFTER, own=frozenset()), "br0 is there already, a bridge"),
        ({"name": "a/b"}, SEEN, "'a/b' is no name of an interface"),
        ({"name": "sixteen-letters-"}, SEEN, "is no name of an interface"),
        ({"name": ""}, SEEN, "'' is no name of an interface"),
        (
            {"name": "br0"},
            dataclasses.replace(SEEN, backends=frozenset()),
            "neither systemd-networkd nor NetworkManager",
        ),
        ({"name": "br0"}, dataclasses.replace(SEEN, backends=frozenset(bridge.FILES)), "both run"),
    ],
)
def test_a_bridge_that_is_refused(options: dict[str, t.Any], seen: t.Any, words: str) -> None:
    refusal = bridge.decide(options, "auto", seen)["refusal"]
    assert refusal.startswith("hypervisor_") and words in refusal, refusal


def test_the_service_that_was_named() -> None:
    both = dataclasses.replace(SEEN, backends=frozenset(bridge.FILES))
    assert bridge.decide({"name": "br0"}, "NetworkManager", both)["backend"] == "NetworkManager"
    assert "NetworkManager does not run" in bridge.decide({"name": "br0"}, "NetworkManager", SEEN)["refusal"]


@pytest.mark.parametrize(("name", "refused"), [("br0", True), ("br1", False)])
def test_a_bridge_that_goes(name: str, refused: bool) -> None:
    refusal = bridge.may_go(name, "auto", AFTER)["refusal"]
    assert (f"br0 carries the default route over br0 and Ansible's own connection to {SSH}" in refusal) is refused
    assert bool(refusal) is refused


@pytest.mark.parametrize(
    ("found", "source", "runs", "word"),
    [
        ({}, "registry", False, "absent"),
        ({"version": "3.11.2", "include-system-site-packages": "false"}, "registry", True, "fits"),
        ({"version": "3.11.9", "include-system-site-packages": "false"}, "wheels", True, "fits"),
        ({"version": "3.11.2", "include-system-site-packages": "false"}, "registry", False, "stale"),
        ({"version": "3.1.1", "include-system-site-packages": "false"}, "registry", True, "stale"),
        ({"version": "3.11.2", "include-system-site-packages": "true"}, "registry", True, "stale"),
        ({"version": "3.11.2", "include-system-site-packages": "false"}, "distribution", True, "stale"),
        ({"version": "3.11.2", "include-system-site-packages": "true"}, "distribution", True, "fits"),
    ],
)
def test_an_environment(found: dict[str, str], source: str, runs: bool, word: str) -> None:
    assert environment.judge(found, (3, 11, 4), source, runs) == word


def test_the_settings_of_an_environment(tmp_path: Path) -> None:
    assert environment.settings(str(tmp_path)) == {}
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.2\nprompt = a = b\n")
    assert environment.settings(str(tmp_path)) == {"home": "/usr/bin", "version": "3.11.2", "prompt": "a = b"}


@pytest.mark.parametrize(
    ("pages", "options", "files", "reasons"),
    [
        (None, {}, {}, []),
        (8, {}, {"/proc/sys/vm/nr_hugepages": "8\n"}, []),
        (8, {}, {"/proc/sys/vm/nr_hugepages": "5\n"}, ["huge pages: 8 are wanted, 5 are reserved"]),
        (8, {}, {}, ["huge pages: 8 are wanted, no are reserved"]),
        (None, {"kvm_intel": {"nested": 1}}, {}, []),  # not loaded
        (None, {"kvm_intel": {"nested": True}}, {"/sys/module/kvm_intel/parameters/nested": "Y\n"}, []),
        (
            None,
            {"kvm_intel": {"nested": 0}},
            {"/sys/module/kvm_intel/parameters/nested": "Y\n"},
            ["kvm_intel: nested=0 is wanted, the loaded module has Y"],
        ),
        (None, {"kvm": {"halt_poll_ns": 1}}, {"/sys/module/kvm/parameters/halt_poll_ns": "1\n"}, []),
    ],
)
def test_what_the_kernel_has(pages: t.Any, options: t.Any, files: dict[str, str], reasons: list[str]) -> None:
    answer = kernel.judge(pages, options, files.get)
    assert answer == {"hugepages": bool(pages and reasons), "reasons": reasons}


def test_the_roles_folders_are_those_of_the_modules() -> None:
    ours = yaml.safe_load((ROLE / "vars/main.yml").read_text("utf-8"))
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text("utf-8"))
    folders = [folder["path"] for folder in ours["__hypervisor_folders"]]
    assert folders == [SYSTEM.config, SYSTEM.state, SYSTEM.vms, SYSTEM.log]
    assert f"{defaults['hypervisor_venv']}/bin/python" == SYSTEM.venv_python
    assert f"dest: {SYSTEM.policy}\n" in (ROLE / "tasks/policy.yml").read_text("utf-8")


def test_every_option_is_described_and_has_its_default() -> None:
    described = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]["main"][
        "options"
    ]
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text("utf-8"))
    assert list(described) == list(defaults)
    assert {name: option.get("default") for name, option in described.items()} == defaults
