# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of another architecture: asked of apt with lists of our own, and said where there are none."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.guest.maqet_guest import kmod, main, packages, sources
from ansible_collections.maqet.qemu.tests.guest.maqet_guest.errors import GuestError

SHOWN = {
    "linux-image-arm64:arm64": "Package: x\nVersion: 6.1-2\nDepends: linux-image-6.1-arm64 (= 6.1-2)\n",
    "linux-image-6.1-arm64:arm64": "Package: y\nDepends: kmod\n",
}


class Apt:
    """Answers as apt would, and notes what it was asked."""

    def __init__(self, shown: t.Dict[str, str], update_fails: bool = False) -> None:
        self.shown, self.update_fails = shown, update_fails
        self.asked: t.List[t.List[str]] = []

    def __call__(self, command: t.Sequence[str], folder: t.Optional[Path] = None) -> bytes:
        self.asked.append(list(command))
        if command[-1] == "update" and self.update_fails:
            raise GuestError("apt-get update: E: 404")
        if "show" in command:
            if command[-1] not in self.shown:
                raise GuestError("apt-cache: E: No packages found")
            return self.shown[command[-1]].encode()
        return b""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)


@pytest.mark.usefixtures("machine")
def test_its_own_architecture_is_asked_of_the_system_and_another_one_with_lists_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = sources.system_source("x86_64", "cloud", tmp_path)
    assert isinstance(own, packages.Apt) and not isinstance(own, sources.ForeignApt)
    apt = Apt(SHOWN, update_fails=True)
    monkeypatch.setattr(packages, "run", apt)
    said: t.List[str] = []
    source = sources.system_source("aarch64", "cloud", tmp_path)
    assert source.kernel(said.append) == packages.Candidate(
        "linux-image-6.1-arm64 6.1-2", ("linux-image-6.1-arm64",)
    ), "cloud kernels of arm64 have no power button"
    assert any("404" in line for line in said), "one source that fails is no reason to give up"
    config = tmp_path / "apt.conf"
    assert all(command[1:3] == ["--config-file", str(config)] for command in apt.asked)
    text = config.read_text()
    assert 'APT::Architecture "arm64";' in text and f'Dir::State "{tmp_path}";' in text
    assert (tmp_path / "status").read_bytes() == b"", "apt is not told of what is installed here"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("update_fails", [False, True])
def test_sources_without_that_architecture_are_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], update_fails: bool
) -> None:
    monkeypatch.setattr(packages, "run", Apt({}, update_fails))
    assert main.main(["--output", str(tmp_path / "out"), "--arch", "aarch64"]) == 77
    error = capsys.readouterr().err
    assert "linux-image-arm64 or linux-image-generic for arm64" in error and "ports mirror" in error
    assert not (tmp_path / "out" / "vmlinuz").exists()


def test_a_board_without_a_keyboard_controller_has_the_drivers_of_usb_before_those_of_disks() -> None:
    order = kmod.wanted("aarch64", with_agent=True)
    assert {"xhci_pci", "usbhid", "virtio_gpu", "ext4"} <= set(order) and order[-1] == "sd_mod"
    assert "usbhid" not in kmod.wanted("x86_64", with_agent=False)
