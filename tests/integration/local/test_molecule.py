# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that make and remove the VMs of a user's Molecule scenario, given what Molecule gives them.

The guests have no system here. A real one, by Molecule itself, is in extensions/molecule/example-vm.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import modules, play
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, remove


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A folder as Molecule has one for each scenario."""

    local: Local
    folder: Path

    @property
    def instances(self) -> list[Result]:
        return list(json.loads((self.folder / "instances.yml").read_text("utf-8")))

    def run(self, playbook: str, *platforms: Result) -> play.PlayOutcome:
        file = self.folder / "molecule.yml"
        file.write_text(json.dumps({"platforms": list(platforms)}), "utf-8")
        env = {
            "MOLECULE_FILE": str(file),
            "MOLECULE_INSTANCE_CONFIG": str(self.folder / "instances.yml"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(self.folder),
            "MOLECULE_SCENARIO_DIRECTORY": str(self.folder),
            "MOLECULE_PROJECT_DIRECTORY": str(self.folder.parent),
            "MOLECULE_SCENARIO_NAME": self.folder.name,
        }
        variables = {"molecule_images": str(self.folder / "images")}
        return play.run_playbook(self.local.inventory, f"maqet.qemu.{playbook}", variables, env=env)

    def vms(self) -> dict[str, Result]:
        """Those of this scenario, by the end of their names."""
        found = modules.must("maqet_vm_info")["vms"]
        return {vm["name"].split("-", 2)[2]: vm for vm in found if vm["definition"].get("labels") == self.mark}

    @property
    def mark(self) -> dict[str, str]:
        return {"scenario": self.folder.parent.name}


@pytest.fixture
def scenario(local: Local, tmp_path: Path) -> t.Iterator[Scenario]:
    found = Scenario(local, tmp_path / "default")
    found.folder.mkdir()
    yield found
    for vm in found.vms().values():
        remove(vm["name"])


@pytest.mark.long
def test_made_found_and_removed(scenario: Scenario) -> None:
    """Two platforms, one of an address and one of a path. One is taken out of molecule.yml, and then both go."""
    image = scenario.folder / "base.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "2M"], check=True)
    rest = {**NOTHING, "labels": scenario.mark, "wait_for": []}
    first = {"name": "one", "image": f"file://{image}", "groups": ["web"], **rest}
    second = {"name": "two", "image": "base.qcow2", "image_size": "4M", "ssh_user": "ada", **rest}
    scenario.run("molecule_create", first, second).must_succeed()

    vms = scenario.vms()
    assert {name: vm["status"] for name, vm in vms.items()} == {"one": "running", "two": "running"}
    (fetched,) = (scenario.folder / "images").iterdir()
    bases = {name: vm["definition"]["disks"][0]["base"] for name, vm in vms.items()}
    assert bases == {"one": str(fetched), "two": str(image)}
    for instance, user in zip(scenario.instances, ("molecule", "ada")):
        assert instance["user"] == user
        key = Path(instance["identity_file"])
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        seed = Path(layout().vm(vms[instance["instance"]]["name"]).seed).read_bytes()
        assert key.with_suffix(".pub").read_bytes().split()[1] in seed and user.encode() in seed
        with socket.create_connection((instance["address"], instance["port"]), 10):
            pass  # QEMU listens there

    again = scenario.run("molecule_destroy", first).must_succeed()
    assert scenario.vms() == {} and scenario.instances == []
    assert again.result("Remove those of this scenario")["changed"] and image.exists() and fetched.exists()
