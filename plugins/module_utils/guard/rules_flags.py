# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that are no text and still change what a command can do: switches, numbers, words from a list.

Each rule answers with a Refusal, or with the word CONSENT where the caller's consent is enough.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.guard.case import Case, quoted
from ansible_collections.maqet.qemu.plugins.module_utils.guard.devices import denied_driver
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Refusal

#: Beginnings of trace events that write commands, replies or keys into QEMU's own log: qmp_enter_set_password,
#: handle_qmp_command, monitor_qmp_cmd_in_band ... (trace-events of QEMU 7.2 and 11.1).
_TALKATIVE = ("qmp_", "handle_", "monitor_", "vnc_", "qcrypto_", "visit_", "object_", "user_creatable", "curl_", "ssh_")

#: Bytes a second and operations a second below which a guest's disk stands as good as still.
_MIN_BPS, _MIN_IOPS = 64 * 1024, 10
#: Bytes of memory below which a balloon strangles any guest.
_MIN_BALLOON = 64 * 1024 * 1024
#: Bytes of a chardev's buffer.
_MAX_RING = 16 * 1024 * 1024
#: Bytes that a dump must leave free on its file system.
_MARGIN = 64 * 1024 * 1024

_CPU_FEATURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: Properties of a processor object that are no features: where it is plugged in, and whether.
_CPU_PLACE = frozenset(
    """
    realized hotplugged hotpluggable parent_bus memory type id apic-id node-id thread-id core-id socket-id die-id
    cluster-id module-id book-id drawer-id unit-id start-powered-off unnamed-gpio-in
    """.split()
)

_QUIET_CAPABILITIES = frozenset(
    """
    xbzrle auto-converge zero-blocks compress events postcopy-ram release-ram return-path pause-before-switchover
    multifd dirty-bitmaps postcopy-blocktime late-block-activate validate-uuid zero-copy-send postcopy-preempt
    switchover-ack dirty-limit mapped-ram rdma-pin-all
    """.split()
)


@dataclass(frozen=True)
class Consent:
    """The caller's consent is enough, and is needed."""

    why: str


Answer = t.Union[Refusal, Consent, None]
_Arguments = t.Mapping[str, t.Any]


def flags(command: str, arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    """The first switch of this command that needs more than the class says; ``lifted``: the policy names it."""
    rule = _RULES.get(command)
    return None if rule is None or not case.base else rule(arguments, case, lifted)


def _deny(field: str, value: t.Any, why: str) -> Refusal:
    remedy = "Leave it out, or have the host's policy name this value of it for this command."
    text = quoted(value) if isinstance(value, str) else repr(value)
    return Refusal("flag", f"{field}: {text} {why}", remedy)


def _switch(
    field: str, why: str, value: t.Any = True
) -> t.Callable[[_Arguments, Case, t.Callable[[str], bool]], Answer]:
    """Rule: the one ``value`` of ``field`` is closed."""

    def rule(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
        given = arguments.get(field)
        if type(given) is type(value) and given == value and not lifted(field):
            return _deny(field, given, why)
        return None

    return rule


def _export(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    for field in ("writable", "allow-other"):
        if arguments.get(field) not in (None, False, "off") and not lifted(field):
            return _deny(field, arguments[field], "lets others than the guest write the disk")
    return None


def _change_medium(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    return Consent("force rips the medium out under the guest") if arguments.get("force") is True else None


def _memory(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    """memsave and pmemsave write as much as they are told to."""
    size = arguments.get("size")
    if not isinstance(size, int) or size <= 0:  # QEMU 7.2 dies of a negative one
        return Refusal("flag", f"size: {size!r} is no number of bytes to save", "Give a number above 0.", final=True)
    return _fits(size, case)


def _fits(size: t.Any, case: Case) -> Answer:
    """Whether so many bytes fit into the VM's folder."""
    if case.scope.output is None or not isinstance(size, int):
        return None
    try:
        about = os.statvfs(case.scope.output)
    except OSError:
        return None
    if size > about.f_bavail * about.f_frsize - _MARGIN:
        return Refusal("flag", f"size: {size} bytes do not fit into {case.scope.output}", "Save less, or make room.")
    return None


def _balloon(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    value = arguments.get("value")
    low = isinstance(value, int) and value < _MIN_BALLOON
    return Consent(f"{value} bytes of memory strangle the guest") if low and not lifted("value") else None


def _throttle(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    for field, value in arguments.items():
        least = _MIN_BPS if field.startswith("bps") else _MIN_IOPS if field.startswith("iops") else 0
        plain = isinstance(value, int) and not field.endswith(("_length", "_size"))
        if plain and 0 < value < least and not lifted(field):
            return Consent(f"{field}: {value} brings the guest's disk to a stand")
    return None


def _resize(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    return None if lifted("size") else Consent("a size below the present one destroys what is beyond it")


def _trace(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    """A name is a pattern, in which QEMU knows ``*`` and ``?``."""
    name = arguments.get("name")
    if arguments.get("enable") is not False and isinstance(name, str) and not lifted("name"):
        plain = name.replace("?", "*").partition("*")[0]
        wild = plain != name
        if any(plain.startswith(family) or (wild and family.startswith(plain)) for family in _TALKATIVE):
            return _deny("name", name, "may turn on events that write passwords into QEMU's log")
    return None


def _cpu_model(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    """QEMU makes a processor to answer, and sets whatever properties it is given: ``realized`` plugs it in."""
    for where, model in arguments.items():
        props = model.get("props") if isinstance(model, dict) else None
        for name, value in props.items() if isinstance(props, dict) else ():
            if not _CPU_FEATURE.fullmatch(str(name)) or name in _CPU_PLACE or isinstance(value, (dict, list)):
                return _deny(f"{where}.props.{quoted(name)[1:-1]}", value, "is no feature of a processor")
    return None


def _create(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    """blockdev-create: what is allocated at once must fit."""
    options = arguments.get("options")
    whole = isinstance(options, dict) and options.get("preallocation") in ("falloc", "full")
    return _fits(options.get("size"), case) if isinstance(options, dict) and whole else None


def _capabilities(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    for item in arguments.get("capabilities") or ():
        name = item.get("capability") if isinstance(item, dict) else None
        if name not in _QUIET_CAPABILITIES and not lifted("capabilities[].capability"):
            return Consent(f"the migration capability {quoted(name)} changes more than speed")
    return None


def _object(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    kind = arguments.get("qom-type")
    closed = {
        "memory-backend-file": (("discard-data", True, "destroys the file when the object goes"),),
        "memory-backend-shm": (("share", True, "maps memory that others can open"),),
        "tls-creds-x509": (("verify-peer", False, "takes anybody for the peer"),),
        "tls-creds-anon": (("verify-peer", False, "takes anybody for the peer"),),
        "tls-creds-psk": (("verify-peer", False, "takes anybody for the peer"),),
        "authz-list": (("policy", "allow", "lets everybody in"),),
        "input-linux": (("grab_all", True, "takes the host's keyboard"),),
    }.get(str(kind), ())
    for field, value, why in closed:
        if arguments.get(field) == value and type(arguments.get(field)) is type(value) and not lifted(field):
            return _deny(field, value, why)
    if str(kind).startswith("memory-backend-") and arguments.get("prealloc") is True and not lifted("prealloc"):
        return Consent("prealloc takes all of that memory from the host at once")
    if kind in _CLOSED_OBJECTS and not lifted("qom-type"):
        return _deny("qom-type", kind, _CLOSED_OBJECTS[str(kind)])
    return None


#: Objects whose power lies in what they are, whatever their fields say.
_CLOSED_OBJECTS: t.Final[dict[str, str]] = {
    "authz-list": "decides who has access",
    "authz-listfile": "decides who has access",
    "authz-pam": "decides who has access",
    "authz-simple": "decides who has access",
    "input-linux": "takes a keyboard or mouse of the host",
    "input-barrier": "takes keyboard and mouse from the network",
    "qtest": "reads and writes all of the guest's memory past the guard",
    "monitor-qmp": "is a monitor past the guard",
    "monitor-hmp": "is a monitor past the guard",
    "secret_keyring": "reads the keys of QEMU's user",
    "iommufd": "opens the host's IOMMU",
    "cryptodev-vhost-user": "shares the guest's memory with whatever is behind the chardev",
    "dbus-vmstate": "hands the state of other programs to migration",
    "x-remote-object": "is a device served by another process",
    "x-vfio-user-server": "serves the guest's devices to another process",
    "filter-redirector": "copies the guest's traffic to a chardev",
    "filter-mirror": "copies the guest's traffic to a chardev",
}


def _device(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    driver = arguments.get("driver")
    if isinstance(driver, str) and denied_driver(driver) and not lifted("driver"):
        return _deny("driver", driver, "hands a device, a folder or a service of the host to the guest")
    return None


def _parameters(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    mode = arguments.get("mode")
    if mode not in (None, "normal") and not lifted("mode"):
        return _deny("mode", mode, "replaces this QEMU by another program")
    return None


def _netdev(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    kind = arguments.get("type")
    if kind == "bridge" and not lifted("type"):
        return Refusal(
            "field-exec", "type: 'bridge' runs a helper program on the host", "Use type: tap with its ifname."
        )
    if kind == "passt" and not lifted("type"):
        return Refusal("field-exec", "type: 'passt' runs a program on the host", "Use type: user.")
    if kind in ("vhost-user", "vde") and not lifted("type"):
        return _deny("type", kind, "connects the guest to a program of the host")
    for field in ("vhost", "vhostforce", "queues", "sndbuf"):
        if kind == "tap" and arguments.get(field) not in (None, False, 1) and not lifted(field):
            return _deny(field, arguments[field], "needs more of the host than one queue of a tap")
    if kind == "user" and arguments.get("smb") is not None and not lifted("smb"):
        return Refusal("field-exec", "smb: runs a file server on the host", "Share files in another way.")
    return None


def _chardev(arguments: _Arguments, case: Case, lifted: t.Callable[[str], bool]) -> Answer:
    backend = arguments.get("backend")
    kind = backend.get("type") if isinstance(backend, dict) else None
    data = backend.get("data") if isinstance(backend, dict) else None
    size = data.get("size") if isinstance(data, dict) else None
    if isinstance(size, int) and not 0 < size <= _MAX_RING:  # QEMU ends when it cannot have the memory
        return Refusal(
            "flag", f"backend.data.size: {size} is more than a buffer needs", f"Give up to {_MAX_RING} bytes."
        )
    if kind in ("stdio", "console", "braille", "wctablet", "msmouse", "spicevmc", "spiceport", "dbus") and not lifted(
        "backend.type"
    ):
        return _deny("backend.type", kind, "is a device of the host's user or of its desktop")
    return None


_PASSWORD = _switch("skipauth", "lets a client past the console's password")

_RULES: t.Final[dict[str, t.Callable[[_Arguments, Case, t.Callable[[str], bool]], Answer]]] = {
    "add_client": _PASSWORD,
    "balloon": _balloon,
    "block-export-add": _export,
    "block_resize": _resize,
    "block_set_io_throttle": _throttle,
    "blockdev-create": _create,
    "blockdev-change-medium": _change_medium,
    "chardev-add": _chardev,
    "chardev-change": _chardev,
    "device_add": _device,
    "memsave": _memory,
    "migrate-set-capabilities": _capabilities,
    "migrate-set-parameters": _parameters,
    "nbd-server-add": _export,
    "netdev_add": _netdev,
    "object-add": _object,
    "pmemsave": _memory,
    "query-cpu-model-baseline": _cpu_model,
    "query-cpu-model-comparison": _cpu_model,
    "query-cpu-model-expansion": _cpu_model,
    "trace-event-set-state": _trace,
}

#: Commands that these rules look at.
COMMANDS: t.Final = frozenset(_RULES)
