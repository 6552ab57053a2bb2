# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML for who may have no PyYAML: read here, or by another Python of this host."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import yaml_strict

_SECONDS = 30.0


def reader(python: str) -> t.Callable[[bytes], t.Any]:
    """A function from YAML to its value, which raises ValueError in words.

    ``python``: an interpreter that is asked where ours lacks PyYAML; it need not exist.
    """

    def read(data: bytes) -> t.Any:
        try:
            return yaml_strict.load(data)
        except ImportError:
            return _elsewhere(python, data)

    return read


def _elsewhere(python: str, data: bytes) -> t.Any:
    if not os.access(python, os.X_OK):
        raise ValueError(
            f"no Python here can read YAML: this one lacks PyYAML, and there is no {python}. "
            "Apply the role maqet.qemu.hypervisor, or install PyYAML"
        )
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function  # run_command is the module's; we are a library
            [python, "-I", "-c", f"{_source()}\nmain()\n"],
            input=data,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
        answer = json.loads(done.stdout)
        problem = answer.get("error")
        value = answer["value"] if problem is None else None
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError, KeyError) as error:
        words = getattr(error, "stderr", None) or str(error).encode("utf-8", "replace")
        raise ValueError(f"{python} did not read it: {words.decode('utf-8', 'replace').strip()[-300:]}") from None
    if problem is not None:
        raise ValueError(str(problem))
    return value


def _source() -> str:
    """The strict reader's own source, also from inside a module's archive."""
    spec = importlib.util.find_spec(yaml_strict.__name__)
    text = (
        spec.loader.get_source(yaml_strict.__name__)
        if spec and spec.loader and hasattr(spec.loader, "get_source")
        else None
    )
    if text is None:
        raise ValueError("the reader's own source is not there")
    return str(text)
