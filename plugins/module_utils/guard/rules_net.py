# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields that name addresses: nothing of the host's network is open but what a policy names.

Sources: SocketAddress, Netdev, ChardevBackend and "migrate" in QEMU's QMP reference; hostfwd in
"Network options" of the system emulator's manual.
"""

from __future__ import annotations

import re
import typing as t
import urllib.parse

from ansible_collections.maqet.qemu.plugins.module_utils.guard.addresses import address_matches, unix_matches
from ansible_collections.maqet.qemu.plugins.module_utils.guard.case import Case, quoted
from ansible_collections.maqet.qemu.plugins.module_utils.guard.rules_files import find, new_file
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Refusal
from ansible_collections.maqet.qemu.plugins.module_utils.guard.walk import Leaf, Node


class Endpoint(t.NamedTuple):
    """One address: ``way`` is "listen" or "connect"; ports up to ``to`` may be taken instead of ``port``."""

    way: str
    host: str
    port: str
    to: t.Optional[str] = None


_REMEDY = "Have the host's policy name the address under net.{way}."
_FORWARD = re.compile(r"(?:(?:tcp|udp)?:)(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>[0-9]+)-(?:[^:]*):[0-9]+")
_URL = re.compile(r"[a-z]+://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?(?:/[A-Za-z0-9._~/%+=&?,:;!-]*)?")
_URL_PORTS = {"http": "80", "https": "443", "ftp": "21", "ftps": "990"}
#: Where a remote block driver finds its server, and the port if it is not said.
_SERVERS = {"ssh": ("server", "22"), "nfs": ("server", "2049")}
_REMOTE = frozenset({"nbd", "ssh", "nfs", "http", "https", "ftp", "ftps", "iscsi", "rbd", "gluster"})


def endpoint(leaf: Leaf, case: Case) -> Refusal | None:
    """A field of kind net-listen or net-connect."""
    if leaf.root == "BlockdevOptions":
        return None  # the node's own rule looks at the whole server
    found = _endpoint_of(leaf)
    if found is None and not case.base:
        return None
    if found is None:
        return case.refuse(leaf, "is an address that no rule can judge", _exact(), case.by_name(leaf))
    return _check(leaf, case, found)


def unix_listen(leaf: Leaf, case: Case) -> Refusal | None:
    """A unix socket that QEMU listens on: it removes what is there before."""
    if not _listens(leaf):
        return unix_connect(leaf, case)
    if leaf.holders[-1].get("abstract") is True and case.base:
        return case.refuse(leaf, "is an abstract socket, which everybody may use", "Leave 'abstract' out.")
    if case.layer.listen is not None and unix_matches(case.layer.listen, str(leaf.value)):
        return None
    if not case.base and case.layer.listen is None:
        return None
    return new_file(leaf, case, opened=False)


def unix_connect(leaf: Leaf, case: Case) -> Refusal | None:
    """A unix socket that QEMU connects to: one that the policy names, or one in the VM's own folders."""
    if _listens(leaf) and leaf.kind == "path-connect":
        return unix_listen(leaf, case)
    if leaf.holders[-1].get("abstract") is True and case.base:
        return case.refuse(leaf, "is an abstract socket, which anybody may have made", "Leave 'abstract' out.")
    patterns = case.layer.connect
    if patterns is not None and unix_matches(patterns, str(leaf.value)):
        return None
    if not case.base and patterns is None:
        return None
    found = find(leaf, case, "read")
    if not isinstance(found, Refusal) and found.place.own and found.kind == "socket" and case.command != "migrate":
        return None
    remedy = _REMEDY.format(way="connect")
    return case.refuse(leaf, "is a socket that no policy names", remedy, {"net": {"connect": [f"unix:{leaf.value}"]}})


def url(leaf: Leaf, case: Case) -> Refusal | None:
    """A URL of the block drivers is judged with its node; any other URL only by name."""
    if leaf.root == "BlockdevOptions" or not case.base:
        return None
    return case.refuse(leaf, "is an address that no rule can judge", _exact(), case.by_name(leaf))


def target(leaf: Leaf, case: Case) -> Refusal | None:
    """A part of a network target (path, user, pool): of a block node, its server decides.

    Where an image is created the target is no node; then its host is looked at here.
    """
    if leaf.root != "BlockdevCreateOptions":
        return None
    driver = leaf.holders[1].get("driver") if len(leaf.holders) > 1 else None
    if driver in _SERVERS and leaf.key == "host":
        holder = leaf.holders[-1]
        return _check(leaf, case, Endpoint("connect", str(leaf.value), str(holder.get("port", _SERVERS[driver][1]))))
    if driver in _SERVERS or not case.base:
        return None
    return case.refuse(leaf, "is a target that no rule can judge", _exact(), case.by_name(leaf))


def remote_node(one: Node, case: Case, lifted: t.Callable[[str], bool]) -> Refusal | None:
    """The server of a remote block node."""
    driver = one.options.get("driver")
    if driver not in _REMOTE or (not case.base and case.layer.connect is None):
        return None
    where = one.where or "driver"
    server = _server(str(driver), one.options)
    if server is None:
        key = f"{one.where}.driver" if one.where else "driver"
        if lifted(key):
            return None
        opens = {"policy": {"commands": {case.command: {"arguments": {key: [driver]}}}}}
        return Refusal(
            "field-net-target", f"{where}: no rule can judge the server of the driver {driver}", _exact(), opens
        )
    if server.host.startswith("unix:"):
        allowed = unix_matches(case.layer.connect or (), server.host[len("unix:") :])
    else:
        allowed = address_matches(case.layer.connect or (), server.host, server.port)
    if allowed:
        return None
    text = server.host if server.host.startswith("unix:") else _spelled(server)
    reason = f"{where}: {driver} would connect to {quoted(text)}, which no policy names"
    return Refusal("field-net-connect", reason, _REMEDY.format(way="connect"), {"policy": {"net": {"connect": [text]}}})


def migration_uri(leaf: Leaf, case: Case) -> Refusal | None:
    """The URI of a migration. exec: is a shell, fd: a descriptor of the caller's choice; a scheme is lower case."""
    text = str(leaf.value)
    scheme, colon, rest = text.partition(":")
    way = "connect" if case.command == "migrate" else "listen"
    if scheme == "file" and colon:
        if way == "listen":
            return (
                None
                if not case.base
                else case.refuse(leaf, "reads a whole machine from a file", _exact(), case.by_name(leaf))
            )
        return new_file(leaf, case, name=rest, prefix="file:")
    if scheme == "tcp" and colon:
        host, separator, port = rest.split(",", 1)[0].rpartition(":")
        if separator and "," not in rest:
            return _check(leaf, case, Endpoint(way, _bare(host), port))
    if scheme == "unix" and colon:
        patterns = case.layer.connect if way == "connect" else case.layer.listen
        if (patterns is None and not case.base) or unix_matches(patterns or (), rest):
            return None
        opens = {"net": {way: [f"unix:{rest}"]}}
        return case.refuse(leaf, "is a socket that no policy names", _REMEDY.format(way=way), opens)
    if not case.base:
        return None
    what = "runs a program on the host" if scheme == "exec" else "is no target that a rule can judge"
    return case.refuse(leaf, what, _exact(), case.by_name(leaf))


def forward(leaf: Leaf, case: Case) -> Refusal | None:
    """hostfwd: ``[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport``."""
    found = _FORWARD.fullmatch(str(leaf.value))
    if found is None and not case.base:
        return None
    if found is None:
        return case.refuse(leaf, "is no forwarding that a rule can judge", "Write tcp:127.0.0.1:PORT-:GUESTPORT.")
    return _check(leaf, case, Endpoint("listen", _bare(found["host"]), found["port"]))


def _exact() -> str:
    return "Have the host's policy say commands: {COMMAND: {arguments: {FIELD: [VALUE]}}}, if you mean it."


def _check(leaf: Leaf, case: Case, end: Endpoint) -> Refusal | None:
    patterns = case.layer.listen if end.way == "listen" else case.layer.connect
    if patterns is None and not case.base:
        return None
    granted = case.scope.granted.listen if end.way == "listen" else ()
    if address_matches((*(patterns or ()), *granted), end.host, end.port, end.to):
        return None
    text = _spelled(end)
    verb = "listen on" if end.way == "listen" else "connect to"
    reason = f"{leaf.where} {quoted(leaf.value)}: QEMU would {verb} {quoted(text)}, which no policy names"
    opens = {"policy": {"net": {end.way: [text]}}}
    return Refusal(f"field-net-{end.way}", reason, _REMEDY.format(way=end.way), opens)


def _endpoint_of(leaf: Leaf) -> Endpoint | None:
    """The whole address that the field is a part of."""
    holder = leaf.holders[-1]
    way = "listen" if _listens(leaf) else "connect"
    if "host" in holder and "port" in holder:
        to = holder.get("to")
        return Endpoint(way, str(holder["host"]), str(holder["port"]), None if to is None else str(to))
    if "cid" in holder and "port" in holder:
        return Endpoint(way, f"vsock:{holder['cid']}", str(holder["port"]))
    if leaf.root == "client_migrate_info":
        ports = [str(holder[key]) for key in ("port", "tls-port") if key in holder]
        return Endpoint(way, str(holder.get("hostname")), ports[0]) if len(ports) == 1 else None
    if leaf.path.startswith("{socket}.") and leaf.root == "Netdev":
        host, colon, port = str(leaf.value).rpartition(":")
        return Endpoint(way, _bare(host), port) if colon else None
    return None


def _listens(leaf: Leaf) -> bool:
    """Whether QEMU listens there. A chardev's socket does unless it is told not to; a stream does if told to."""
    if leaf.kind in ("net-listen", "path-listen") and leaf.root != "ChardevAdd":
        return True
    if leaf.root == "ChardevAdd":
        if ".local{" in leaf.path:
            return True
        servers = [holder["server"] for holder in leaf.holders if "server" in holder]
        return leaf.path.startswith("backend{socket}") and servers[:1] != [False]
    if leaf.root == "Netdev":
        local = leaf.path.startswith(("{dgram}.local", "{socket}.localaddr", "{l2tpv3}.src"))
        return local or (leaf.path.startswith("{stream}") and leaf.holders[0].get("server") is True)
    return False


def _server(driver: str, options: t.Mapping[str, t.Any]) -> Endpoint | None:
    """Where a remote block node connects to; None if that cannot be said."""
    if driver in _URL_PORTS:
        if not _URL.fullmatch(str(options.get("url"))):  # parsers differ about what is odd: curl's is QEMU's
            return None
        try:
            url_ = urllib.parse.urlsplit(str(options.get("url")))
            port = str(url_.port or _URL_PORTS[driver])
        except ValueError:
            return None
        if url_.scheme != driver or not url_.hostname or options.get("proxy-username") is not None:
            return None
        return Endpoint("connect", url_.hostname, port)
    server: t.Any = options.get("server")
    if driver == "nbd" and isinstance(server, dict):
        if server.get("type") == "unix" and isinstance(server.get("path"), str):
            return Endpoint("connect", f"unix:{server['path']}", "")
        if server.get("type") == "inet":
            return Endpoint("connect", str(server.get("host")), str(server.get("port")))
    if driver in _SERVERS and isinstance(server, dict):
        return Endpoint("connect", str(server.get("host")), str(server.get("port", _SERVERS[driver][1])))
    if driver == "iscsi" and isinstance(options.get("portal"), str):
        host, colon, port = str(options["portal"]).rpartition(":")
        return Endpoint("connect", _bare(host), port) if colon else Endpoint("connect", port, "3260")
    return None


def _bare(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _spelled(end: Endpoint) -> str:
    host = f"[{end.host}]" if ":" in end.host and not end.host.startswith("vsock:") else end.host
    return f"{host}:{end.port}" + (f"-{end.to}" if end.to else "")
