# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every attack of the table succeeds on a bare monitor of this QEMU, or says why it cannot be shown here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.integration.local.attacks.bare import attack_bare, place_at
from ansible_collections.maqet.qemu.tests.integration.local.attacks.every import ATTACKS
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import Attack


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty image, copied for each attack."""
    path = tmp_path_factory.mktemp("image") / "d0.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "4M"], check=True)
    return path


@pytest.mark.parametrize("attack", [a for a in ATTACKS if callable(a.effect)], ids=lambda attack: attack.name)
def test_succeeds_on_a_bare_monitor(attack: Attack, image: Path, tmp_path: Path) -> None:
    """Without this the refusals would prove nothing."""
    place = place_at(tmp_path)
    disk = Path(shutil.copy(image, tmp_path))
    try:
        assert attack_bare(attack, place, disk)
    finally:
        shutil.rmtree(place.run)
