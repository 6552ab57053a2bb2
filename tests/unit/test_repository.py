# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root of the repository: everything in it is told of, and the public checks call what there is."""

from __future__ import annotations

import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def tracked() -> set[str]:
    """What stands in the root, as git sees it."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if listed.returncode != 0:
        pytest.skip("this is no repository")
    return {name.partition("/")[0] for name in listed.stdout.splitlines()}


def test_the_root_is_told_of() -> None:
    text = (ROOT / "FILES.md").read_text("utf-8")
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    told = {name.rstrip("/") for cell in first for name in re.findall(r"`([^`]+)`", cell)}
    assert told == tracked()


def steps() -> list[dict[str, t.Any]]:
    jobs = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_the_workflow_calls_what_there_is() -> None:
    usage = subprocess.run([ROOT / "dev"], check=True, stdout=subprocess.PIPE, text=True).stdout
    known = set(re.findall(r"^  (\w+)", usage, re.MULTILINE))
    called = {word for step in steps() for word in re.findall(r"\./dev (\w+)", step.get("run", ""))}
    assert {"lint", "docs", "sanity", "unit", "integration"} <= called <= known
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", one) for one in used), used


def test_the_workflow_begins_with_the_oldest_that_we_support() -> None:
    matrix = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["tests"]["strategy"]["matrix"]
    needed = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text("utf-8"))["requires_ansible"]
    assert needed == f">={matrix['core'][0]}.0"
    pairs = {(core, python) for core in matrix["core"] for python in matrix["python"]}
    pairs -= {(one["core"], one["python"]) for one in matrix["exclude"]}
    assert {core for core, _python in pairs} == set(matrix["core"]), "an ansible-core without a Python"
