# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the alphabet of errors says of the host: a Python that is too old, a kernel that refuses."""

from __future__ import annotations

import errno
import os
import runpy
import sys

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils import errors


def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3.8")
    words = (
        r"needs Python 3\.9 or later on the managed host, and /usr/bin/python3\.8 is 3\.8\.18\. Set ansible_python_int"
    )
    with pytest.raises(RuntimeError, match=words):
        runpy.run_path(errors.__file__)


@pytest.mark.parametrize(
    ("uid", "remedy"),
    [
        (0, "Only SELinux, AppArmor or a network file system refuse something to root. What it was, the end of dmesg "),
        (1000, "Change its mode or owner, or run the task as another user (become)."),
    ],
)
def test_a_file_that_may_not_be_used(monkeypatch: pytest.MonkeyPatch, uid: int, remedy: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    found = errors.of_host(PermissionError(errno.EACCES, "Permission denied", "/srv/x"))
    assert str(found).startswith(f"The host refused: /srv/x: Permission denied. {remedy}")
    assert (found.error_code, found.details) == ("host_error", {"errno": errno.EACCES})


def test_other_refusals_have_no_such_remedy() -> None:
    assert str(errors.of_host(OSError(errno.ENOSPC, "No space left on device", "/srv/x"))) == (
        "The host refused: /srv/x: No space left on device."
    )
