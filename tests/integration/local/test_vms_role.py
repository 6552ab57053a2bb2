# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vms: images, each brought once, and the VMs that are made of them."""

from __future__ import annotations

import hashlib
import subprocess
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.hosts import play
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, remove, state_of


@pytest.fixture
def names() -> t.Iterator[list[str]]:
    stem = f"test-{uuid.uuid4().hex[:8]}"
    chosen = [f"{stem}-{letter}" for letter in "ab"]
    yield chosen
    for name in chosen:
        remove(name)


class Run(t.NamedTuple):
    """What a role did: whether it succeeded, which tasks changed something, and what was printed."""

    well: bool
    changed: list[str]
    output: str


def run(local: Local, *options: str, **variables: t.Any) -> Run:
    roles = [{"role": "maqet.qemu.vms"}]
    outcome = play.run_playbook(
        local.inventory, [{"hosts": "all", "gather_facts": False, "roles": roles}], variables, options=options
    )
    changed = [task.removeprefix("maqet.qemu.vms : ") for task in outcome.changed]
    return Run(outcome.rc == 0, changed, outcome.output)


def image(path: Path) -> str:
    """A disk image for overlays; its SHA-256."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "8M"], check=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_images_and_the_vms_made_of_them(local: Local, names: list[str], tmp_path: Path) -> None:
    """One image by URL and one from the controller: check mode, made, again unchanged, and none fetched twice."""
    there, folder = tmp_path / "there", tmp_path / "images"
    there.mkdir()
    digests = [image(there / name) for name in ("one.qcow2", "two.qcow2")]
    images: list[Result] = [
        {"name": "one", "url": (there / "one.qcow2").as_uri(), "checksum": f"sha256:{digests[0]}"},
        {"name": "two", "src": str(there / "two.qcow2"), "checksum": f"sha256:{digests[1]}"},
    ]
    variables = {
        "vms_images": images,
        "vms_images_folder": str(folder),
        "vms_defaults": {**NOTHING, "state": "running", "force": True, "stop_timeout": 0},
        "vms_list": [
            {"name": name, "disks": [{"name": "root", "base": f"{folder}/{base}"}]}
            for name, base in zip(names, ("one", "two"))
        ],
    }
    foreseen = run(local, "--check", **variables)
    assert foreseen.well, foreseen.output
    assert foreseen.changed == ["Make the folder of the images", "Copy the image"]
    assert not folder.exists()
    fetched = run(local, "--tags", "vms_images", **variables)
    assert fetched.changed == ["Make the folder of the images", "Fetch images", "Copy the image"]
    foreseen = run(local, "--check", **variables)
    made = run(local, **variables)
    assert foreseen.well and made.well, made.output
    assert foreseen.changed == made.changed == ["Make the VMs be what the list says"]
    assert [state_of(name) for name in names] == ["running", "running"]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        "one": "0o644",
        "two": "0o644",
    }

    for path in there.iterdir():
        path.unlink()  # nobody looks there again
    again = run(local, **variables)
    assert again.well and again.changed == [], again.output


def test_an_image_that_is_another(local: Local, tmp_path: Path) -> None:
    """Nothing that is not what its checksum says gets the image's name, wherever it comes from."""
    source, folder = tmp_path / "one.qcow2", tmp_path / "images"
    digest = image(source)
    wrong = f"sha256:{'0' * 64}"
    for entry, words in (
        ({"src": str(source), "checksum": wrong}, f"on the controller has the checksum {digest}"),
        ({"src": str(tmp_path / "none"), "checksum": wrong}, "is no file that can be read"),
        ({"url": source.as_uri(), "checksum": wrong}, "checksum"),
        ({}, "vms_images: it needs either url, an address, or src, a file on the controller."),
        ({"url": source.as_uri(), "src": str(source)}, "needs either url"),
    ):
        refused = run(local, vms_images=[{"name": "it", **entry}], vms_images_folder=str(folder))
        assert not refused.well and words in " ".join(refused.output.split()), refused.output
        assert not folder.exists() or list(folder.iterdir()) == []


def test_options_are_checked(local: Local) -> None:
    refused = run(local, vms_list="web1,", vms_images=[{"url": "x"}])
    assert not refused.well
    assert "missing required arguments: name found in vms_images" in refused.output
