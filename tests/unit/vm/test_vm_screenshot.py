# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How maqet_screenshot asks for a picture, and what it does with whatever then lies in QEMU's folder."""

from __future__ import annotations

import base64
import hashlib
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.screenshot import from_ppm
from ansible_collections.maqet.qemu.plugins.module_utils.vm import screenshot
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Message
from ansible_collections.maqet.qemu.tests.unit.vm.stand_in import StandIn
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

PPM = b"P6\n3 2\n255\n" + bytes(range(18))
PNG = from_ppm(PPM).data


class Screen:
    """A runner whose QEMU writes pictures, as ``write`` says."""

    def __init__(self, vm: FakeVm, runner: StandIn) -> None:
        self.runner = runner
        self.output = Path(vm.paths.output)
        self.output.mkdir(parents=True)
        self.written: t.Optional[Path] = None
        self.write: t.Callable[[Path, bool], None] = lambda path, png: self.plain(path, PNG if png else PPM)
        runner.refuses = self._obey

    def plain(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)

    def _obey(self, command: Message) -> t.Optional[Message]:
        arguments = command["arguments"]
        self.written = self.output / arguments["filename"]
        try:
            self.write(self.written, arguments.get("format") == "png")
        except RuntimeError as error:
            return {"qmp_desc": str(error)}
        return None

    def take(self, check: bool = False, **given: t.Any) -> Message:
        rest = dict.fromkeys(("dest", "device", "head"))
        params = {"vm": "web", "filename": "screenshot.png", "timeout": PATIENCE, "reason": "", **rest, **given}
        return screenshot.run(screenshot.checked(params, check, {}))

    def fail(self, **given: t.Any) -> MaqetError:
        with pytest.raises(MaqetError) as caught:
            self.take(**given)
        return caught.value

    @property
    def names(self) -> list[str]:
        return sorted(os.listdir(self.output))


@pytest.fixture
def screen(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Screen]:
    monkeypatch.setattr(screenshot, "layout", lambda: vm.where)
    with StandIn(vm) as server:
        yield Screen(vm, server)


def test_png_of_qemu(screen: Screen) -> None:
    result = screen.take(device="maqet-video", head=0)
    assert (result["changed"], result["converted"], result["width"], result["height"]) == (True, False, 3, 2)
    assert (screen.output / "screenshot.png").read_bytes() == PNG and screen.names == ["screenshot.png"]
    assert result["path"] == str(screen.output / "screenshot.png")
    assert (result["size"], result["sha256"]) == (len(PNG), hashlib.sha256(PNG).hexdigest())
    assert "content" not in result and len(result["audit"]) == 2
    (command,) = screen.runner.sent
    arguments = dict(command["arguments"])
    assert arguments.pop("filename") != "screenshot.png"
    assert arguments == {"device": "maqet-video", "head": 0, "format": "png"}


def test_what_an_older_qemu_writes_is_converted(screen: Screen) -> None:
    """It does not know the argument, which the guard knows from its schema."""
    screen.runner.denies = lambda command: "format" in command["arguments"]
    result = screen.take()
    assert result["converted"] and (screen.output / "screenshot.png").read_bytes() == PNG
    assert [sorted(command["arguments"]) for command in screen.runner.sent] == [["filename"]]
    assert (result["width"], result["height"]) == (3, 2) and screen.names == ["screenshot.png"]
    assert (screen.output / "screenshot.png").stat().st_mode & 0o777 == 0o600


def test_a_qemu_without_libpng(screen: Screen) -> None:
    def write(path: Path, png: bool) -> None:
        if png:
            raise RuntimeError("Enable PNG support with libpng for screendump")
        path.write_bytes(PPM)

    screen.write = write
    result = screen.take()
    assert result["converted"] and len(result["audit"]) == 4 and screen.names == ["screenshot.png"]


def test_the_picture_for_the_controller(screen: Screen) -> None:
    assert base64.b64decode(screen.take(dest="shots/")["content"]) == PNG
    assert "content" not in screen.take(check=True, dest="shots/")


def test_check_mode_takes_nothing(screen: Screen) -> None:
    result = screen.take(check=True)
    assert result["changed"] is True and result["audit"] == [] and "width" not in result
    assert screen.runner.sent == [] and screen.names == []


def test_a_denial_is_one_of_what_would_be_sent(screen: Screen) -> None:
    screen.runner.denies = lambda command: True
    error = screen.fail()
    assert error.error_code == "policy_denied" and error.details["audit"] == [{"phase": "deny"}]
    assert error.details["decision"]["decision"] == "deny" and screen.names == []


def test_no_screen(screen: Screen) -> None:
    def write(path: Path, png: bool) -> None:
        raise RuntimeError("There is no console to take a screendump from")

    screen.write = write
    error = screen.fail()
    assert error.error_code == "no_display" and "display: headless" in str(error)
    assert len(error.details["audit"]) == 2 and screen.names == []


def test_the_last_picture_is_replaced_and_others_are_not(screen: Screen) -> None:
    for name in ("screenshot.png", "other.png"):
        (screen.output / name).write_bytes(b"old")
    screen.take()
    assert (screen.output / "screenshot.png").read_bytes() == PNG
    assert (screen.output / "other.png").read_bytes() == b"old"


def test_a_link_in_the_place_of_the_result_is_replaced(screen: Screen, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (screen.output / "screenshot.png").symlink_to(victim)
    screen.take()
    assert victim.read_bytes() == b"precious"
    assert not (screen.output / "screenshot.png").is_symlink()
    assert (screen.output / "screenshot.png").read_bytes() == PNG


def test_what_is_not_the_file_that_qemu_was_to_write(screen: Screen, tmp_path: Path) -> None:
    """A QEMU that the guest has taken over puts something else there; nothing of it is read."""
    secret = tmp_path / "secret"
    secret.write_bytes(PNG)
    swaps: list[t.Callable[[Path, bool], None]] = [
        lambda path, png: path.symlink_to(secret),
        lambda path, png: path.hardlink_to(secret) if hasattr(path, "hardlink_to") else os.link(secret, path),
        lambda path, png: os.mkfifo(path),
        lambda path, png: path.mkdir(),
        lambda path, png: None,
    ]
    for swap in swaps:
        screen.write = swap
        error = screen.fail(dest="x")
        assert error.error_code == "file_refused" and "content" not in error.details
        assert len(error.details["audit"]) == 2
        assert screen.written is not None
        if screen.written.is_dir():
            screen.written.rmdir()
        assert screen.names == [] and secret.read_bytes() == PNG


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads what is somebody else's")
def test_a_file_of_somebody_else(screen: Screen) -> None:
    def write(path: Path, png: bool) -> None:
        path.write_bytes(PNG)
        os.chown(path, 12345, 12345)

    screen.write = write
    assert screen.fail().error_code == "file_refused" and screen.names == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_converted_picture_belongs_to_the_user_of_qemu(screen: Screen) -> None:
    os.chown(screen.output, 12345, 12346)

    def write(path: Path, png: bool) -> None:
        path.write_bytes(PPM)
        os.chown(path, 12345, 12346)

    screen.write = write
    assert screen.take()["converted"]
    status = (screen.output / "screenshot.png").stat()
    assert (status.st_uid, status.st_gid) == (12345, 12346)


def test_too_large_a_file(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screenshot, "_LARGEST", len(PNG) - 1)
    error = screen.fail()
    assert error.error_code == "file_refused" and "larger than" in str(error) and screen.names == []


def test_half_a_picture(screen: Screen) -> None:
    """The disk was full, say. The last whole picture stays."""
    (screen.output / "screenshot.png").write_bytes(b"old")
    screen.write = lambda path, png: screen.plain(path, PNG[:-5])
    assert screen.fail().error_code == "qmp_error"
    assert screen.names == ["screenshot.png"] and (screen.output / "screenshot.png").read_bytes() == b"old"


def test_a_folder_in_the_place_of_the_result(screen: Screen) -> None:
    (screen.output / "screenshot.png").mkdir()
    assert screen.fail().error_code == "file_refused" and screen.names == ["screenshot.png"]


def test_what_a_killed_task_left_is_removed(screen: Screen) -> None:
    (screen.output / ".screenshot.png.4194999.0123abcd").write_bytes(b"half")
    screen.take()
    assert screen.names == ["screenshot.png"]


def test_a_folder_with_the_name_of_a_remnant_is_in_nobodys_way(screen: Screen) -> None:
    """QEMU can make one, and there would be no screenshot of this VM any more."""
    (screen.output / ".x.4194999.0123abcd").mkdir()
    screen.take()
    assert screen.names == [".x.4194999.0123abcd", "screenshot.png"]


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"filename": "../x.png"}, "filename"),
        ({"filename": "/tmp/x.png"}, "filename"),
        ({"filename": ".png"}, "filename"),
        ({"filename": "x.ppm"}, "filename"),
        ({"filename": "x.png\n"}, "filename"),
        ({"filename": "a,b.png"}, "filename"),
        ({"filename": "x" * 97 + ".png"}, "filename"),
        ({"device": "v", "head": -1}, "head"),
        ({"timeout": 0}, "timeout"),
        ({"vm": "../x"}, "name"),
    ],
)
def test_what_cannot_be(screen: Screen, given: Message, option: str) -> None:
    error = screen.fail(**given)
    assert (error.error_code, error.details["option"]) == ("invalid_option", option)
    assert screen.runner.asked == []
