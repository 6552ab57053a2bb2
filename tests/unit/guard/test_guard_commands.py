# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import collections

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import is_name

SPOT = {
    "query-status": "read",
    "query-block": "read",
    "query-named-block-nodes": "read",
    "query-migrationthreads": "read",
    "query-commands": "introspect",
    "qmp_capabilities": "introspect",
    "x-query-roms": "unstable",
    "send-key": "guest",
    "cont": "guest",
    "qom-set": "guest",
    "quit": "availability",
    "stop": "availability",
    "system_reset": "availability",
    "system_powerdown": "availability",
    "device_del": "availability",
    "blockdev-del": "availability",
    "inject-nmi": "availability",
    "qom-get": "disclosure",
    "trace-event-set-state": "disclosure",
    "nbd-server-start": "host-net",
    "memsave": "host-file",
    "screendump": "host-file",
    "dump-guest-memory": "host-file",
    "transaction": "host-file",
    "device_add": "host-file",
    "migrate": "host-exec",
    "object-add": "host-exec",
    "human-monitor-command": "host-exec",
}


def test_counts_of_the_classification() -> None:
    """246 commands of two schemas, and query-migrationthreads, which only releases between them have."""
    assert collections.Counter(commands.CLASS_OF.values()) == {
        "read": 57,
        "introspect": 25,
        "unstable": 17,
        "guest": 52,
        "availability": 47,
        "disclosure": 10,
        "host-net": 8,
        "host-file": 24,
        "host-exec": 7,
    }
    assert len(commands.CLASS_OF) == 247
    assert (len(commands.FIELD_JUDGED), len(commands.UNSTABLE)) == (35, 29)


def test_no_command_stands_in_two_classes() -> None:
    assert sum(len(names.split()) for names in commands._NAMES.values()) == len(commands.CLASS_OF)


def test_every_table_speaks_of_classified_commands_only() -> None:
    for table in (commands.FIELD_JUDGED, commands.UNSTABLE, commands.CONSENT):
        assert set(table) <= set(commands.CLASS_OF)
    assert set(commands.CLASS_OF.values()) == set(commands.CLASSES)
    assert all(is_name(name) for name in commands.CLASS_OF)


@pytest.mark.parametrize(("name", "expected"), SPOT.items())
def test_spot(name: str, expected: str) -> None:
    assert commands.class_of(name) == expected


@pytest.mark.parametrize("name", ["exec-oob", "execute", "block_passwd", "__com.redhat_drive-mirror", "no-such", ""])
def test_nobody_has_classified_these(name: str) -> None:
    assert commands.class_of(name) is None


@pytest.mark.parametrize("name", "qom-set qom-get device_add chardev-add netdev_add transaction migrate".split())
def test_their_fields_decide(name: str) -> None:
    assert name in commands.FIELD_JUDGED


@pytest.mark.parametrize("name", "block-export-add nbd-server-add display-reload add_client".split())
def test_their_power_is_in_no_field(name: str) -> None:
    assert name not in commands.FIELD_JUDGED
