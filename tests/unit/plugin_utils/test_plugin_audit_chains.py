# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller notices of chains that come to it in pieces."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chain import MAX_GAPS, Chain
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chains import Chains, gap_problem
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.fleet import BEGIN, HostLog, Record, edited


def told(chains: Chains, records: t.Iterable[Record], host: str = "h1") -> list[tuple[str, int | None]]:
    """Kind and number of each problem, the holes at the end."""
    found = [problem for record in records for problem in chains.take(host, record).problems]
    found += [gap_problem(key, gap) for key, gap in chains.gaps()]
    return [(problem.kind, problem.seq) for problem in found]


@pytest.fixture
def log() -> HostLog:
    """start, and five commands: eleven records."""
    made = HostLog()
    made.start()
    for _number in range(5):
        made.now += dt.timedelta(minutes=5)
        made.command()
    return made


def test_a_whole_chain_has_no_problem(log: HostLog) -> None:
    chains = Chains()
    assert told(chains, log.records) == []
    (chain,) = chains.chains.values()
    assert (chain.seq, chain.hash, chain.gaps) == (11, log.records[-1]["hash"], [])


def test_what_was_before_we_looked_is_no_problem(log: HostLog) -> None:
    chains = Chains()
    assert told(chains, log.records[4:]) == []
    (chain,) = chains.chains.values()
    assert [(gap.first, gap.last) for gap in chain.gaps] == [(1, 4)]
    assert told(chains, log.records[:4]) == [] and chain.gaps == [], "and it may come later"


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_one_log_is_the_same(log: HostLog, seed: int) -> None:
    shuffled = log.records[:]
    random.Random(seed).shuffle(shuffled)  # no secret
    chains = Chains()
    assert [problem for record in shuffled for problem in chains.take("h1", record).problems] == []
    (chain,) = chains.chains.values()
    assert (chain.seq, chain.hash, chain.gaps) == (11, log.records[-1]["hash"], [])


def test_a_hole_is_told_until_it_is_filled(log: HostLog) -> None:
    chains = Chains()
    hole = log.records[3:6]
    rest = [record for record in log.records if record not in hole]
    assert told(chains, rest) == [("gap", 4)]
    assert told(chains, hole[1:2]) == [("gap", 4), ("gap", 6)]
    assert told(chains, hole[::2]) == []


def test_the_same_record_twice_is_nothing(log: HostLog) -> None:
    chains = Chains()
    told(chains, log.records)
    assert [chains.take("h1", record).new for record in log.records] == [False] * 11
    assert told(chains, log.records) == []


def test_an_edited_record(log: HostLog) -> None:
    records = [*log.records[:3], edited(log.records[3], args={"forged": True}), *log.records[4:]]
    assert told(Chains(), records) == [("changed", 4)]
    assert told(Chains(), [edited(log.records[3], args={"forged": True})]) == [("changed", 4)], "also as the first one"
    assert told(Chains(), [{**log.records[0], "prev": "1" * 64}]) == [("changed", 1)]
    assert told(Chains(), [{**log.records[3], "prev": "nonsense é"}]) == [("changed", 4)]


def test_a_fork(log: HostLog) -> None:
    """Somebody rewrote record 11 with a right hash after we had seen it, and went on from there."""
    other = HostLog()
    other.records = log.records[:10]
    other.append("result", op="other")
    (forged, *_more) = other.command()
    chains = Chains()
    assert told(chains, [*log.records, forged]) == [("fork", 12)]
    assert told(chains, other.records[12:]) == [], "and it is told once"


def test_a_rewind(log: HostLog) -> None:
    """The end was cut off, and others records have its numbers."""
    chains = Chains()
    told(chains, log.records)
    log.records = log.records[:5]
    log.now += dt.timedelta(hours=1)
    again = [*log.command("quit"), *log.command(), *log.command(), *log.command()]
    assert told(chains, again) == [("rewind", 6)]
    assert told(chains, log.command()) == []


def test_a_log_that_begins_anew(log: HostLog) -> None:
    """Also when its first numbers are some that were never seen: they come too late to be those."""
    chains = Chains()
    told(chains, log.records[6:])
    anew = HostLog(begin=BEGIN + dt.timedelta(days=1))
    anew.start()
    assert told(chains, anew.command()) == [("rewind", 2)]
    assert told(chains, anew.command()) == []


def test_a_log_that_is_cut_off_within_a_hole() -> None:
    """A moment later: by the clock alone the new records could be those that are missing."""
    log = HostLog()
    for _number in range(5):
        log.now += dt.timedelta(seconds=1)
        log.command()
    chains = Chains()
    assert told(chains, [*log.records[:3], *log.records[6:]]) == [("gap", 4)]
    log.records = log.records[:4]
    log.now += dt.timedelta(seconds=1)
    assert told(chains, log.command("quit")) == [("rewind", 6)]
    assert told(chains, log.command()) == []


def test_what_fills_a_hole_must_fit(log: HostLog) -> None:
    other = HostLog()
    other.start()
    other.command("stop")
    chains = Chains()
    assert told(chains, [log.records[0], *log.records[3:]]) == [("gap", 2)]
    assert told(chains, [edited(log.records[1], op="stop"), other.records[2]]) == [("changed", 2), ("fork", 3)]


def test_a_runner_that_takes_over_leaves_no_hole(log: HostLog) -> None:
    log.start(writer=200)
    after = log.command()
    assert told(Chains(), [*log.records[:11], *after]) == []
    log.start(writer=300)
    log.append("orphan", op="stop")
    assert told(Chains(), [*log.records[:14], *log.command()]) == [("gap", 15)], "two missing records are a hole"


def test_a_full_file_leaves_no_hole(log: HostLog) -> None:
    log.append("rotate")
    first = log.append("intent", op="stop", segment=2)
    assert told(Chains(), [*log.records[:11], first]) == []


def test_two_users_have_each_a_vm_of_one_name(log: HostLog) -> None:
    theirs = HostLog(sock="/run/user/1000/maqet/web1/monitor.sock")
    theirs.start()
    theirs.command()
    chains = Chains()
    assert told(chains, log.records) == []
    assert told(chains, theirs.records[1:]) == [("log", 2)]
    assert told(chains, [*log.command(), *theirs.command()]) == [], "each goes on for itself"
    assert sorted(chains.chains) == [("h1", "web1", "/run/maqet/web1"), ("h1", "web1", "/run/user/1000/maqet/web1")]


def test_a_record_without_a_socket_is_of_the_log_that_it_continues(log: HostLog) -> None:
    chains = Chains()
    told(chains, log.records)
    assert told(chains, log.denial(sock=None)) == []
    log.command()
    assert told(chains, log.denial(sock=None)) == [("gap", 13)]
    assert len(chains.chains) == 1


def test_hosts_and_vms_do_not_mix(log: HostLog) -> None:
    chains = Chains()
    other = HostLog("db1")
    other.command()
    assert told(chains, log.records) == told(chains, log.records, "h2") == told(chains, other.records) == []
    assert len(chains.chains) == 3


def test_what_is_remembered_can_be_written_down(log: HostLog) -> None:
    chains = Chains()
    told(chains, [*log.records[:2], *log.records[5:]])
    (chain,) = chains.chains.values()
    again = Chain.from_dict(json.loads(json.dumps(chain.as_dict())))
    assert again == chain and dataclasses.asdict(again)["gaps"][0]["first"] == 3
    for wrong in ({}, {**chain.as_dict(), "seq": None}, {**chain.as_dict(), "gaps": [{"first": 1}]}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Chain.from_dict(wrong)


def test_holes_without_end_are_not_remembered() -> None:
    log = HostLog()
    for _number in range(2 * MAX_GAPS + 10):
        log.command()
    chains = Chains()
    for record in log.records[::2]:
        chains.take("h1", record)
    assert len(next(iter(chains.chains.values())).gaps) == MAX_GAPS
