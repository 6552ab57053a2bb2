# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks of our own that go for the host's network, its interfaces, and programs that set them up."""

from __future__ import annotations

import socket
import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    Attack,
    Place,
    Step,
    accepted,
    listens,
    made,
    one,
    original,
    reaches,
)


def _netdev(name: str, kinds: str, arguments: dict[str, t.Any], effect: t.Any, **more: t.Any) -> Attack:
    return one(name, kinds, "netdev_add", {"id": name, **arguments}, effect, **more)


def _forward(name: str, rule: str, kind: str = "tcp") -> Attack:
    effect = listens("udp") if kind == "udp" else listens()
    return _netdev(name, "net-listen", {"type": "user", "restrict": True, "hostfwd": [{"str": rule}]}, effect)


def _helper(place: Place) -> None:
    path = place.victim / "helper"
    path.write_text(f"#!/bin/sh\necho ran > {place.victim}/ran\n", "utf-8")
    path.chmod(0o755)


def _inet(host: str = "127.0.0.1") -> dict[str, str]:
    return {"type": "inet", "host": host, "port": "<port>"}


NETDEVS = (
    _netdev("n-tap-default-script", "exec host-device", {"type": "tap", "ifname": "mqattack5"}, reaches("ifup")),
    _netdev(
        "n-tap-ifname",
        "host-device",
        {"type": "tap", "ifname": "mqattack6", "script": "no", "downscript": "no"},
        accepted,
    ),
    _netdev(
        "n-tap-helper",
        "exec",
        {"type": "tap", "helper": "<victim>/helper"},
        made("<victim>/ran"),
        prepare=_helper,
    ),
    _netdev(
        "n-tap-downscript",
        "exec",
        {"type": "tap", "ifname": "mqattack7", "script": "no", "downscript": "<victim>/helper"},
        accepted,
        prepare=_helper,
    ),
    _netdev("n-tap-fd", "fd", {"type": "tap", "fd": "0"}, reaches("fd", "descriptor", "TUNGETIFF")),
    _netdev("n-tap-fds", "fd", {"type": "tap", "fds": "0:1", "vhostfds": "0:1"}, reaches("TUNGETIFF")),
    _netdev("n-bridge-default-helper", "exec host-device", {"type": "bridge", "br": "docker0"}, reaches("helper")),
    _netdev("n-socket-listen", "net-listen", {"type": "socket", "listen": ":<port>"}, listens()),
    _netdev("n-socket-connect", "net-connect", {"type": "socket", "connect": "127.0.0.1:<port>"}, accepted),
    _netdev("n-socket-mcast", "net-connect", {"type": "socket", "mcast": "230.0.0.1:<port>"}, listens("udp")),
    _netdev(
        "n-socket-udp",
        "net-connect",
        {"type": "socket", "udp": "127.0.0.1:9", "localaddr": "127.0.0.1:<port>"},
        listens("udp"),
    ),
    _netdev("n-socket-fd", "fd", {"type": "socket", "fd": "0"}, reaches("fd", "socket")),
    _netdev("n-stream", "net-listen", {"type": "stream", "server": True, "addr": _inet("0.0.0.0")}, listens()),
    _netdev(
        "n-stream-unix",
        "path-listen path-connect",
        {"type": "stream", "server": True, "addr": {"type": "unix", "path": "<victim>/target"}},
        accepted,
        prepare=original,
    ),
    _netdev(
        "n-dgram",
        "net-connect",
        {"type": "dgram", "local": _inet(), "remote": {"type": "inet", "host": "127.0.0.1", "port": "9"}},
        listens("udp"),
    ),
    _netdev(
        "n-l2tpv3",
        "net-connect",
        {
            "type": "l2tpv3",
            "src": "127.0.0.1",
            "dst": "127.0.0.1",
            "udp": True,
            "dstport": "9",
            "srcport": "<port>",
            "txsession": 1,
        },
        reaches("l2tpv3", "address"),
    ),
    _netdev("n-vde", "path-connect", {"type": "vde", "sock": "<run>/vde"}, reaches("vde")),
    _netdev("n-netmap", "host-device", {"type": "netmap", "ifname": "eth0"}, "not compiled in"),
    _netdev(
        "n-vhost-vdpa", "host-device", {"type": "vhost-vdpa", "vhostdev": "/dev/vhost-vdpa-0"}, reaches("vdpa", "open")
    ),
    _netdev(
        "n-vhost-user", "ref host-net", {"type": "vhost-user", "chardev": "maqet-serial"}, reaches("chardev", "socket")
    ),
    _netdev("n-tftp", "path-read", {"type": "user", "restrict": True, "tftp": "/etc"}, accepted),
    _netdev("n-smb", "path-read exec", {"type": "user", "restrict": True, "smb": "/etc"}, reaches("smb")),
    _netdev(
        "n-guestfwd-exec",
        "exec",
        {"type": "user", "restrict": True, "guestfwd": [{"str": "tcp:10.0.2.9:80-cmd:id"}]},
        accepted,
    ),
    _netdev(
        "n-guestfwd-connect",
        "net-connect",
        {"type": "user", "restrict": True, "guestfwd": [{"str": "tcp:10.0.2.9:80-tcp:127.0.0.1:22"}]},
        reaches("guest forward", "onnect"),
    ),
    _netdev("n-passt", "exec", {"type": "passt", "path": "/bin/sh"}, "passt is younger than QEMU 7.2"),
    _forward("n-fwd-plain", "tcp:127.0.0.1:<port>-:22"),
    _forward("n-fwd-no-host", "tcp::<port>-:22"),
    _forward("n-fwd-no-proto", ":127.0.0.1:<port>-10.0.2.15:22"),
    _forward("n-fwd-bare", "::<port>-:22"),
    _forward("n-fwd-any", "tcp:0.0.0.0:<port>-:22"),
    _forward("n-fwd-udp", "udp::<port>-:53", "udp"),
    Attack(
        "n-fwd-second-of-two",
        "net-listen",
        (
            Step(
                "netdev_add",
                {
                    "id": "nf2",
                    "type": "user",
                    "hostfwd": [{"str": "tcp:127.0.0.1:0-:22"}, {"str": "tcp::<port>-:22"}],
                },
            ),
        ),
        listens(),
    ),
)


def _nbd(name: str, kinds: str, address: dict[str, t.Any], effect: t.Any, **more: t.Any) -> Attack:
    return one(name, kinds, "nbd-server-start", {"addr": address}, effect, blames="addr", **more)


def _by_name() -> t.Any:
    """A minimal system has no /etc/hosts, and then QEMU finds no localhost either."""
    try:
        socket.getaddrinfo("localhost", 80)
    except OSError:
        return "this machine does not know the name localhost"
    return listens()


SERVERS = (
    _nbd("s-nbd-any", "net-listen", {"type": "inet", "data": {"host": "0.0.0.0", "port": "<port>"}}, listens()),
    _nbd("s-nbd-empty", "net-listen", {"type": "inet", "data": {"host": "", "port": "<port>"}}, listens()),
    _nbd("s-nbd-name", "net-listen", {"type": "inet", "data": {"host": "localhost", "port": "<port>"}}, _by_name()),
    _nbd(
        "s-nbd-range",
        "net-listen",
        {"type": "inet", "data": {"host": "127.0.0.1", "port": "<port>", "to": 65535}},
        listens(),
    ),
    _nbd(
        "s-nbd-unlinks",
        "path-listen",
        {"type": "unix", "data": {"path": "<victim>/target"}},
        listens("unix", "<victim>/target"),
        prepare=original,
    ),
    _nbd(
        "s-nbd-vsock", "net-listen", {"type": "vsock", "data": {"cid": "2", "port": "10809"}}, reaches("vsock", "bind")
    ),
    _nbd("s-nbd-fd", "fd", {"type": "fd", "data": {"str": "2"}}, reaches("descriptor")),
    one(
        "s-vnc-anywhere",
        "net-listen display-update",
        "display-update",
        {"type": "vnc", "addresses": [{"type": "inet", "host": "127.0.0.1", "port": "<port>"}]},
        listens(),
    ),
    one(
        "s-vnc-unlinks",
        "path-listen",
        "display-update",
        {"type": "vnc", "addresses": [{"type": "unix", "path": "<victim>/target"}]},
        listens("unix", "<victim>/target"),
        prepare=original,
    ),
    one(
        "s-spice-redirect",
        "net-connect",
        "client_migrate_info",
        {"protocol": "spice", "hostname": "203.0.113.9", "port": 5900},
        reaches("SPICE"),
    ),
    one(
        "s-add-client",
        "fd add_client.skipauth",
        "add_client",
        {"protocol": "vnc", "fdname": "mine", "skipauth": True},
        reaches("descriptor"),
    ),
    one(
        "s-vnc-password",
        "secret",
        "change-vnc-password",
        {"password": "mine"},
        reaches("Could not", "password"),
        consent=True,
    ),
    Attack(
        "s-set-password",
        "secret set_password.connected expire_password.time",
        (
            Step("set_password", {"protocol": "vnc", "password": "mine", "connected": "keep"}, consent=True),
            Step("set_password", {"protocol": "vnc", "password": "mine", "display": "default"}, consent=True),
        ),
        accepted,
    ),
)


def _migrate(name: str, uri: str, effect: t.Any, command: str = "migrate", **more: t.Any) -> Attack:
    return one(name, "uri-exec", command, {"uri": uri}, effect, blames="uri", **more)


MIGRATION = (
    _migrate("m-tcp", "tcp:127.0.0.1:<port>", accepted),
    _migrate("m-unix", "unix:<run>/nobody", reaches("No such file", "connect")),
    _migrate("m-fd", "fd:mine", reaches("descriptor")),
    _migrate("m-vsock", "vsock:2:1234", accepted),
    _migrate("m-rdma", "rdma:127.0.0.1:<port>", reaches("rdma", "RDMA")),
    _migrate("m-file", "file:<victim>/new", reaches("unknown migration protocol", "valid migration protocol")),
    _migrate("m-exec-in-capitals", "EXEC:id", reaches("valid migration protocol")),
    _migrate("m-exec-after-blank", " exec:id", reaches("valid migration protocol")),
    _migrate("m-no-scheme", "203.0.113.9:4444", reaches("valid migration protocol")),
    _migrate("m-incoming-exec", "exec:id", reaches("incoming"), "migrate-incoming"),
    _migrate("m-incoming-any", "tcp:0.0.0.0:<port>", reaches("incoming"), "migrate-incoming"),
    _migrate("m-recover-exec", "exec:id", reaches("recover", "paused"), "migrate-recover"),
    one(
        "m-channels-exec",
        "exec unknown-field",
        "migrate",
        {"channels": [{"channel-type": "main", "addr": {"transport": "exec", "args": ["/bin/sh", "-c", "id"]}}]},
        "channels are younger than QEMU 7.2",
    ),
    one(
        "m-cpr-exec",
        "exec migrate-set-parameters.mode",
        "migrate-set-parameters",
        {"mode": "cpr-exec", "cpr-exec-command": ["/bin/sh"]},
        "cpr-exec is younger than QEMU 7.2",
    ),
    one(
        "m-capabilities",
        "migrate-set-capabilities",
        "migrate-set-capabilities",
        {"capabilities": [{"capability": "x-colo", "state": True}]},
        accepted,
        consent=True,
    ),
    one("m-exec-oob", "oob", "exec-oob", {"uri": "exec:id"}, "no command, but the key of QEMU's second door"),
    Attack(
        "m-uri-of-a-list",
        "uri-exec types",
        (
            Step("migrate", {"uri": ["exec:id"]}),
            Step("migrate", {"uri": {"exec": "id"}}),
            Step("migrate", {"URI": "x"}),
        ),
        "QEMU refuses them too",
    ),
)
