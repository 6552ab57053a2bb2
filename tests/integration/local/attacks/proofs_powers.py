# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs that go for programs, addresses, control channels and QEMU itself."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks.proofs_files import NODE
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    MARK,
    ORIGINAL,
    Attack,
    Place,
    Seen,
    Step,
    files,
    listens,
    made,
    one,
    shadow,
    told,
)


def _script(place: Place) -> None:
    path = place.victim / "ifup"
    path.write_text(f"#!/bin/sh\necho ran > {place.victim}/ran\n", "utf-8")
    path.chmod(0o755)


class _Sink:
    """A peer on a unix socket that keeps what a migration sends it."""

    listener: socket.socket

    def prepare(self, place: Place) -> t.Callable[[], None]:
        shadow(place)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(place.run / "sink"))
        self.listener.listen(1)
        return self.listener.close

    def effect(self, seen: Seen) -> bool:
        """The stream holds the secret. It is read to its end, which comes when the migration is done."""
        self.listener.settimeout(10)
        stream = bytearray()
        with contextlib.suppress(socket.timeout), self.listener.accept()[0] as peer:
            peer.settimeout(5)
            while part := peer.recv(1 << 20):
                stream += part
                if MARK.encode() in stream:
                    return True
        return MARK.encode() in stream


_SINK = _Sink()


def _nbd_read(seen: Seen) -> bool:
    """A stranger reads the first bytes of the export ``x`` (the NBD protocol's oldest handshake)."""
    with socket.create_connection(("127.0.0.1", seen.place.port), 5) as client, client.makefile("rb") as answer:
        answer.read(18)
        client.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 1) + b"x")
        size, _flags = struct.unpack(">QH", answer.read(10))
        client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, min(size, 512)))
        answer.read(16)
        return MARK.encode() in answer.read(min(size, 512))


def _qtest_writes(seen: Seen) -> bool:
    """The new control channel writes into the guest's memory."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(4)
        client.connect(str(seen.place.run / "q27"))
        with client.makefile("rw", encoding="ascii") as talk:
            for line in ("write 0x1000 0x4 0xdeadbeef", "read 0x1000 0x4"):
                talk.write(line + "\n")
                talk.flush()
                answer = talk.readline()
    return answer.strip().endswith("deadbeef") and seen.place.path("<victim>/target").read_bytes() != ORIGINAL.encode()


POWERS = (
    one(
        "01-migrate-exec",
        "uri-exec",
        "migrate",
        {"uri": "exec:echo ran > <victim>/ran; cat > /dev/null"},
        made("<victim>/ran"),
        blames="uri",
    ),
    one(
        "02-bridge-helper",
        "exec host-device",
        "netdev_add",
        {"type": "bridge", "id": "p02", "br": "nosuch", "helper": "echo ran > <victim>/ran #"},
        made("<victim>/ran"),
        blames="helper br",
    ),
    one(
        "03-tap-script",
        "exec host-device",
        "netdev_add",
        {"type": "tap", "id": "p03", "ifname": "mqattack3", "script": "<victim>/ifup", "downscript": "no"},
        made("<victim>/ran"),
        blames="script ifname",
        prepare=_script,
    ),
    Attack(
        "18-romfile-and-migrate",
        "path-read device_props uri-exec",
        (
            Step("device_add", {"driver": "virtio-rng-pci", "id": "p18", "bus": "rp1", "romfile": "<victim>/shadow"}),
            Step("migrate", {"uri": "unix:<run>/sink"}),
        ),
        _SINK.effect,
        "romfile uri",
        _SINK.prepare,
    ),
    Attack(
        "21-nbd-export",
        "net-listen path-rw",
        (
            Step("blockdev-add", {"node-name": "p21", **NODE}),
            Step(
                "nbd-server-start",
                {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "<port>"}}},
            ),
            Step("block-export-add", {"type": "nbd", "id": "e21", "node-name": "p21", "name": "x"}, "follow"),
        ),
        _nbd_read,
        "file.filename addr",
        shadow,
    ),
    Attack(
        "27-qtest",
        "monitor path-write path-listen",
        (
            Step(
                "chardev-add",
                {
                    "id": "p27",
                    "backend": {
                        "type": "socket",
                        "data": {
                            "addr": {"type": "unix", "data": {"path": "<run>/q27"}},
                            "server": True,
                            "wait": False,
                        },
                    },
                },
            ),
            Step("object-add", {"qom-type": "qtest", "id": "p27q", "chardev": "p27", "log": "<victim>/target"}),
        ),
        _qtest_writes,
        "path qtest chardev log",
        files(target=ORIGINAL),
    ),
    one(
        "30-user-net-powers",
        "net-listen exec path-read",
        "netdev_add",
        {
            "type": "user",
            "id": "p30",
            "hostfwd": [{"str": "tcp:127.0.0.1:<port>-:22"}],
            "guestfwd": [{"str": "tcp:10.0.2.100:80-cmd:/bin/sh -c id"}],
            "tftp": "/",
            "bootfile": "/etc/passwd",
        },
        listens(),
        blames="hostfwd guestfwd tftp",
    ),
    Attack(
        "31-several-objects-a-line",
        "json",
        (
            Step("query-name'}{'execute':'quit"),
            Step('query-name"}\n{"execute":"quit'),
            Step("query-name\n"),
        ),
        told("smuggled"),
        "name",
        raw=b"{'execute':'query-name'}{'execute':'query-kvm','id':'smuggled'}{'execute':'quit'}",
    ),
    one(
        "32-introspection-that-kills",
        "introspect",
        "device-list-properties",
        {"typename": "virtio-gpu-gl-pci"},
        lambda seen: seen.dead,
        blames="typename consent ends",
        consent=True,
    ),
    Attack(
        "33-qom-set-authz",
        "qom qom-value policy",
        (
            Step("qom-set", {"path": "/objects/authz0", "property": "policy", "value": "allow"}),
            Step("qom-get", {"path": "/objects/authz0", "property": "policy"}, "follow"),
        ),
        lambda seen: seen.replies[-1] == "allow",
        "property policy path",
    ),
    Attack(
        "36-hmp",
        "hmp path-write",
        (
            Step("human-monitor-command", {"command-line": "logfile <victim>/target"}),
            Step("human-monitor-command", {"command-line": "log guest_errors"}, "follow"),
            Step(
                "human-monitor-command",
                {"command-line": "gdbserver unix:path=<run>/gdb,server=on,wait=off"},
            ),
        ),
        made("<run>/gdb"),
        "command-line",
        files(target=ORIGINAL),
    ),
    Attack(
        "40-trace-leaks-secrets",
        "trace secret",
        (
            Step("trace-event-set-state", {"name": "handle_qmp_command", "enable": True}),
            Step("set_password", {"protocol": "vnc", "password": f"PW-{MARK}"}, consent=True),
        ),
        lambda seen: MARK in seen.log,
        "name password protocol disclosure",
    ),
    Attack(
        "61-fdset-by-the-caller",
        "fd path-write",
        (
            Step("add-fd", {"fdset-id": 61, "opaque": "rdwr:mine"}),
            Step("getfd", {"fdname": "core"}),
            Step("pmemsave", {"val": 0, "size": 16, "filename": "/proc/self/fd/3"}),
            Step("screendump", {"filename": "/dev/fdset/61"}),
            Step("dump-guest-memory", {"paging": False, "protocol": "fd:core"}),
        ),
        # Without a descriptor beside the bytes QEMU has nothing to add; the name in /proc it takes.
        lambda seen: not seen.refused[2] or "No file descriptor" in json.dumps(seen.replies),
        "fd descriptor filename protocol",
    ),
)
