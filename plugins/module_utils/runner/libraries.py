# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries of the runner, imported in one place so that a host without them gets a sentence, not a traceback."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

try:
    from qemu.qmp import ExecuteError, QMPClient, QMPError, Runstate
    from qemu.qmp.qmp_client import BadReplyError
except ImportError:  # names for those who import them; demand() ends the runner before any is used

    class QMPError(Exception):  # type: ignore[no-redef]
        """Stands in."""

    class ExecuteError(QMPError):  # type: ignore[no-redef]
        """Stands in."""

    class BadReplyError(QMPError):  # type: ignore[no-redef]
        """Stands in."""

    class QMPClient:  # type: ignore[no-redef]
        """Stands in."""

    class Runstate:  # type: ignore[no-redef]
        """Stands in."""

        RUNNING: t.Any = None


# Import name and name on PyPI. PyYAML reads the policy file, psutil the processes around a VM.
_NEEDED = (("qemu.qmp", "qemu.qmp"), ("psutil", "psutil"), ("yaml", "PyYAML"))

__all__ = ["BadReplyError", "ExecuteError", "QMPClient", "QMPError", "Runstate", "complete", "demand"]


def demand() -> None:
    """``libraries_missing`` with the remedy, unless all are there."""
    missing = [package for module, package in _NEEDED if not _there(module)]
    if missing:
        raise MaqetError(
            f"The runner's Python, {sys.executable}, lacks {', '.join(missing)}. Apply the role maqet.qemu.hypervisor, "
            f"which makes a virtual environment for it, or: {sys.executable} -m pip install {' '.join(missing)}",
            "libraries_missing",
            missing=missing,
            python=sys.executable,
        )


def complete() -> None:
    """Import what can wait until QEMU is on its way. Before ready, like all: a library may be replaced while we run."""
    with contextlib.suppress(ImportError):
        import yaml  # noqa: F401  # pylint: disable=unused-import,import-outside-toplevel


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False
