# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the picture of a screenshot goes on the controller."""

from __future__ import annotations

import base64
import types
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.maqet.qemu.plugins.plugin_utils.screenshot_action import ScreenshotAction

Result = dict[str, t.Any]
PICTURE = b"\x89PNG and so on"
TAKEN: Result = {"changed": True, "path": "/there/screenshot.png", "content": base64.b64encode(PICTURE).decode()}


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> t.Callable[..., Result]:
    """``act(result of the module, options)``; relative paths begin in ``tmp_path``."""

    def run(module: Result, in_background: int = 0, **options: t.Any) -> Result:
        monkeypatch.setattr(NormalAction, "run", lambda self, tmp=None, task_vars=None: dict(module))
        action = ScreenshotAction.__new__(ScreenshotAction)
        args = {"vm": "web", **options}
        action._task = types.SimpleNamespace(args=args, get_name=lambda: "shot", async_val=in_background)
        action._loader = DataLoader()
        action._loader.set_basedir(str(tmp_path))
        return action.run(task_vars={})

    return run


@pytest.mark.parametrize(
    ("dest", "place"),
    [("shot.png", "shot.png"), ("a/b/", "a/b/web.png"), ("there", "there/web.png"), ("x/../y.png", "y.png")],
)
def test_destinations(act: t.Callable[..., Result], tmp_path: Path, dest: str, place: str) -> None:
    (tmp_path / "there").mkdir()
    result = act(TAKEN, dest=dest)
    assert result == {"changed": True, "path": "/there/screenshot.png", "dest": str(tmp_path / place)}
    assert (tmp_path / place).read_bytes() == PICTURE
    assert (tmp_path / place).stat().st_mode & 0o777 == 0o600


def test_an_absolute_destination(act: t.Callable[..., Result], tmp_path: Path) -> None:
    assert act(TAKEN, dest=str(tmp_path / "x.png"))["dest"] == str(tmp_path / "x.png")


def test_nothing_is_written_where_nothing_was_taken(act: t.Callable[..., Result], tmp_path: Path) -> None:
    assert act({"changed": True}, dest="a/shot.png")["dest"] == str(tmp_path / "a/shot.png"), "check mode"
    failed = act({"failed": True, "msg": "no"}, dest="a/shot.png")
    assert failed == {"failed": True, "msg": "no"}
    assert "dest" not in act({"changed": True})
    assert list(tmp_path.iterdir()) == []


def test_a_destination_that_cannot_be(act: t.Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = act(TAKEN, dest="file/shot.png")
    assert result["failed"] and result["error_code"] == "invalid_option" and "dest: 'file/shot.png'" in result["msg"]
    assert result["changed"] is True and "content" not in result, "the file on the host is there"


def test_nobody_takes_the_picture_of_a_task_in_the_background(act: t.Callable[..., Result], tmp_path: Path) -> None:
    result = act(TAKEN, dest="shot.png", in_background=60)
    assert result["failed"] and "async" in result["msg"]
    assert act({"changed": True}, in_background=60) == {"changed": True}
