# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with a migration that was broken off: by a table, and by a model that is broken off everywhere."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.plugin_utils.migration_decide import Next, Seen, decide

ID = "1"
RUNS: dict[str, t.Any] = {"defined": True, "runs": True, "run_state": "running"}
#: Everything has come, and stands still.
LOADED: dict[str, t.Any] = {"defined": True, "runs": True, "run_state": "paused"}


def here(phase: t.Optional[str] = None, **more: t.Any) -> Seen:
    marked = {} if phase is None else {"phase": phase, "id": ID, "peer": "b"}
    return Seen("a", **{**RUNS, **marked, **more})


def there(phase: t.Optional[str] = None, **more: t.Any) -> Seen:
    marked = {} if phase is None else {"phase": phase, "id": ID, "peer": "a", **LOADED}
    return Seen("b", **{**marked, **more})


def step(host: str, what: str) -> Next:
    return Next("step", host, what, ID)


GONE = Seen("a")
CASES: list[tuple[Seen, t.Optional[Seen], t.Union[Next, str]]] = [
    # nothing is open
    (here(), there(), Next("move")),
    (GONE, there(**RUNS), Next("there")),
    (GONE, there(migration.ARRIVED), Next("there")),
    (here(migration.ARRIVED, peer="b"), there(), Next("move")),
    (here(), there(**RUNS), "vm_exists"),
    (GONE, there(), Next("move")),  # whose offer has the problem that there is no such VM
    (here(), None, "destination_unreachable"),
    # it was not handed over
    (here(migration.SENDING), there(migration.RECEIVING), step("a", "recover")),
    (here(migration.SENDING), None, step("a", "recover")),
    (here(), there(migration.RECEIVING), step("b", "discard")),
    (here(), there(migration.DISCARDED), step("b", "discard")),
    (GONE, there(migration.RECEIVING), "migration_undecided"),
    # it was handed over
    (here(migration.HANDED_OVER), there(migration.RECEIVING), step("b", "take")),
    (here(migration.HANDED_OVER), there(migration.RECEIVING, runs=False, run_state=None), step("b", "refuse")),
    (here(migration.HANDED_OVER), there(migration.RECEIVING, run_state="inmigrate"), step("b", "refuse")),
    (here(migration.HANDED_OVER), there(migration.RECEIVING, run_state=None), "migration_undecided"),
    (here(migration.HANDED_OVER), there(migration.DISCARDED), step("a", "reclaim")),
    (here(migration.HANDED_OVER), there(migration.TAKEN), step("b", "take")),
    (here(migration.HANDED_OVER), there(migration.ARRIVED), step("a", "retire")),
    (here(migration.HANDED_OVER), there(migration.ARRIVED, id="2"), "migration_undecided"),
    (here(migration.HANDED_OVER), there(migration.RECEIVING, id="2"), "migration_undecided"),
    (here(migration.HANDED_OVER), there(), "migration_undecided"),
    (here(migration.HANDED_OVER), None, "migration_undecided"),
    (here(migration.CONFIRMED), there(migration.ARRIVED), step("a", "retire")),
    (here(migration.CONFIRMED), None, step("a", "retire")),
    (GONE, there(migration.TAKEN), step("b", "take")),
    # a third host has to do with it
    (here(migration.HANDED_OVER, peer="c"), there(), "vm_migrated"),
    (here(), there(migration.RECEIVING, peer="c"), "vm_migrating"),
    (here(migration.RECEIVING, peer="c"), there(), "vm_migrating"),
]


@pytest.mark.parametrize(("one", "other", "wanted"), CASES)
def test_what_comes_next(one: Seen, other: t.Optional[Seen], wanted: t.Union[Next, str]) -> None:
    if isinstance(wanted, Next):
        assert decide(one, other, "b", "web") == wanted
        return
    with pytest.raises(MaqetError) as error:
        decide(one, other, "b", "web")
    assert error.value.error_code == wanted


@pytest.mark.parametrize("other", [None, there(), there(migration.ARRIVED, id="2")])
def test_only_its_user_takes_back_what_may_run_elsewhere(other: t.Optional[Seen]) -> None:
    assert decide(here(migration.HANDED_OVER), other, "b", "web", reclaim=True) == step("a", "reclaim")


def test_a_task_the_other_way_settles_the_same() -> None:
    """Whichever of the two hosts the task is for."""
    for one, other, wanted in CASES:
        third = any(seen is not None and seen.peer == "c" for seen in (one, other))
        if isinstance(wanted, Next) and wanted.what == "step" and other is not None and not third:
            assert decide(other, one, "a", "web") == wanted, (one, other)


# --- a model: every moment at which all may stop, whatever has been lost by then ------------------------------------


@dataclasses.dataclass
class World:
    """What is durable on the two hosts, and what their QEMUs do: None (gone), incomplete, loaded or running."""

    source: t.Optional[str] = None
    target: t.Optional[str] = None
    sender: t.Optional[str] = "running"
    receiver: t.Optional[str] = None
    source_defined: bool = True
    target_defined: bool = False

    def check(self) -> None:
        """The one thing that must never be."""
        assert not (self.sender == "running" and self.receiver == "running"), self

    def seen(self) -> tuple[Seen, Seen]:
        one = here(self.source, defined=self.source_defined, runs=self.sender is not None)
        states = {"incomplete": "inmigrate", "loaded": "paused", "running": "running", None: None}
        other = there(
            self.target,
            defined=self.target_defined,
            runs=self.receiver is not None,
            run_state=states[self.receiver],
        )
        return one, other

    def do(self, following: Next) -> None:
        """What the modules do in one step; that it is allowed is what the test is about."""
        if following.step == "recover":
            assert self.source == migration.SENDING
            self.source = None
            self.sender = self.sender and "running"
            self.receiver = None if self.receiver == "incomplete" else self.receiver  # its stream is gone
        elif following.step == "refuse":
            assert self.target == migration.RECEIVING
            self.target = migration.DISCARDED
        elif following.step == "discard":
            assert self.target in (migration.RECEIVING, migration.DISCARDED)
            self.target, self.receiver, self.target_defined = None, None, False
        elif following.step == "reclaim":
            assert self.source == migration.HANDED_OVER
            assert self.target == migration.DISCARDED, "it could still be taken there"
            self.source = None
            self.sender = self.sender and "running"
        elif following.step == "take":
            assert self.target == migration.TAKEN or self.source == migration.HANDED_OVER, "it was not handed over"
            self.target = migration.ARRIVED
            self.receiver = self.receiver and "running"
        else:
            assert following.step == "retire" and self.target == migration.ARRIVED
            self.source, self.sender, self.source_defined = None, None, False


Change = dict[str, t.Any]
#: What happens one after another, each of it durable when the next begins.
PROTOCOL: list[Change] = [
    {"target": migration.RECEIVING},
    {"target_defined": True},
    {"receiver": "incomplete"},
    {"source": migration.SENDING},
    {"sender": "stopped"},
    {"receiver": "loaded"},
    {"source": migration.HANDED_OVER},
    {"target": migration.TAKEN},
    {"receiver": "running"},
    {"target": migration.ARRIVED},
    {"source": migration.CONFIRMED},
    {"sender": None},
    {"source_defined": False, "source": None},
]
LOSSES: dict[str, Change] = {
    "nothing": {},
    "the receiving QEMU": {"receiver": None},
    "the sending QEMU": {"sender": None},
    "both QEMUs": {"receiver": None, "sender": None},
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("done", range(len(PROTOCOL) + 1))
@pytest.mark.parametrize("again", ["the same way", "the other way"])
def test_broken_off_anywhere(done: int, loss: str, again: str) -> None:
    """The next task brings it to an end in which exactly one host has the VM, and runs it if its QEMU is left."""
    world = World()
    for change in PROTOCOL[:done]:
        world = dataclasses.replace(world, **change)
        world.check()
    lost = {key: value for key, value in LOSSES[loss].items() if getattr(world, key) is not None}
    world = dataclasses.replace(world, **lost)
    usable = world.sender is not None or world.receiver in ("loaded", "running")
    for _round in range(10):
        one, other = world.seen()
        following = decide(one, other, "b", "web") if again == "the same way" else decide(other, one, "a", "web")
        if following.what != "step":
            break
        world.do(following)
        world.check()
    else:
        raise AssertionError(f"it does not settle: {world}")
    assert world.source_defined != world.target_defined, world
    assert world.source is None and world.target in (None, migration.ARRIVED), world
    running = (world.sender == "running") + (world.receiver == "running")
    # A guest whose memory is lost on the host that has it is down, as after any failure of that host.
    if loss == "nothing":
        assert running == 1, world
    elif not usable:
        assert running == 0, world
