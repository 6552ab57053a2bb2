# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Through the guard no attack of the table comes to anything: refused with a reason and a record, and nothing harmed.

``test_attacks_bare.py`` shows that each of them works where nobody guards.
"""

from __future__ import annotations

import shutil
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.attacks.bare import place_at
from ansible_collections.maqet.qemu.tests.integration.local.attacks.every import ATTACKS, FURTHER, PROOFS
from ansible_collections.maqet.qemu.tests.integration.local.attacks.guarded import WANTED, Target, at_once, in_turn
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Local, remove

MODES = ("ipc", "direct")
#: What needs a step that is allowed, so that it cannot stand in a list that is refused as a whole.
PREPARED = tuple(attack for attack in FURTHER if any(step.expect == "setup" for step in attack.steps))


@pytest.fixture(scope="module", params=MODES)
def target(
    request: pytest.FixtureRequest, local: Local, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[tuple[Target, str]]:
    """A running VM for each mode, with everything prepared that the attacks need."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    facts = modules.must("maqet_vm", name=name, state="running", **WANTED)["vm"]
    root = Path("/var/tmp", f"mq-{name}")  # where others may enter, unlike pytest's folders
    place = place_at(root, Path(facts["home"]), Path(facts["output"]))
    aim = Target(local, name, facts, place)
    undo = [end for attack in ATTACKS if (end := aim.prepare(attack)) is not None]
    yield aim, request.param
    for end in undo:
        end()
    shutil.rmtree(root)
    shutil.rmtree(place.run)
    remove(name, rubbish=True)


def complain(problems: list[str]) -> None:
    """Fail with all of them, one a line."""
    assert not problems, "\n" + "\n".join(problems[:60])


def test_the_proofs_come_to_nothing(target: tuple[Target, str]) -> None:
    """Each command by itself, without consent; exactly one record a refusal, and all is as it was."""
    aim, mode = target
    before, denials = aim.look(), aim.denials()
    found = in_turn(aim, PROOFS, mode, consent=False)
    complain(found + aim.harm(before))
    assert aim.denials() - denials == sum(len(attack.denied) for attack in PROOFS)


def test_consent_helps_none_of_them(target: tuple[Target, str]) -> None:
    """Consent is for what can hurt the guest, not for what can hurt the host."""
    aim, mode = target
    before = aim.look()
    proofs = [attack for attack in PROOFS if not attack.name.startswith("31")]  # names that are none end a whole list
    found = at_once(aim, proofs, mode, consent=True)
    complain(found + aim.harm(before))


def test_the_further_attacks_come_to_nothing(target: tuple[Target, str]) -> None:
    """In lists, with and without consent: a command that passed would show by its missing record."""
    aim, mode = target
    before = aim.look()
    found = in_turn(aim, PREPARED, mode, consent=True)
    rest = [attack for attack in FURTHER if attack not in PREPARED]
    found += at_once(aim, rest, mode, consent=False)
    found += at_once(aim, rest, mode, consent=True)
    complain(found + aim.harm(before))
