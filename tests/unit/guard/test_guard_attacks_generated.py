# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No field that can reach the host is reachable by another spelling, at another depth, or with consent.

Every string leaf of both schemas is aimed at with values of its kind; under the built-in policy none may pass, for
any role. And the reverse: harmless values are not refused for what they are not.
"""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict
from ansible_collections.maqet.qemu.tests.unit.guard import attacking, schemas
from ansible_collections.maqet.qemu.tests.unit.guard.aimed import NoSuchLeaf, aimed
from hypothesis import given, settings
from hypothesis import strategies as st

Aim = t.Tuple[str, str, str, str]  # version, command, path, kind
#: Kinds whose values are names of files that QEMU makes.
_MADE = ("path-write", "uri-file", "blk-filename-write")
#: A request that is refused for one of these has not been judged by what it means.
_FORM = ("schema", "argument-shape", "unclassified-field", "no-schema", "name-syntax", "unknown-command")


def _aims() -> list[Aim]:
    """All leaves that each version has."""
    found = []
    for version in schemas.VERSIONS:
        for command, path, kind in schemas.classified():
            try:
                aimed(version, command, path, "x")
            except NoSuchLeaf:
                continue
            found.append((version, command, path, kind))
    return found


AIMS = _aims()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> attacking.World:
    return attacking.make_world(tmp_path_factory.mktemp("host"))


def verdict(world: attacking.World, version: str, command: str, arguments: t.Any, role: str, consent: bool) -> Verdict:
    scope = Scope("web1", str(world.home), schemas.schema(version))
    rights = Rights(BUILTIN, BUILTIN.layer("web1"), (), Role(role))
    return judge(Request(command, copy.deepcopy(arguments), consent), scope, rights)


ROLES = st.sampled_from(["viewer", "operator", "admin"])
#: Kinds without power over the host: there is no value to attack with.
_WITHOUT_POWER = (
    "ident",
    "secret",
    "secret-ref",
    "opaque",
    "guest-data",
    "path-match",
    "net-config",
    "qom",
    "qom-value",
)
POWERED = [aim for aim in AIMS if aim[3] not in _WITHOUT_POWER]


def deeper(draw: st.DrawFn, command: str, arguments: dict[str, t.Any]) -> tuple[str, dict[str, t.Any]]:
    """The same node below others, or the same command as an action: what reaches it must make no difference."""
    if command in ("blockdev-snapshot-sync", "drive-backup") and draw(st.booleans()):
        before = [{"type": "block-dirty-bitmap-add", "data": {"node": "n", "name": "b"}}] * draw(st.integers(0, 2))
        return "transaction", {"actions": [*before, {"type": command, "data": arguments}]}
    if command != "blockdev-add":
        return command, arguments
    node = arguments
    for _level in range(draw(st.integers(0, 6))):
        node = draw(st.sampled_from(_LAYERS))(node)
    way = draw(st.integers(0, 3))
    if way == 1:
        return "blockdev-reopen", {"options": [{"driver": "null-co", "node-name": "z"}, node]}
    if way == 2:
        return "blockdev-create", {"job-id": "j", "options": {"driver": "qcow2", "size": 1, "file": node}}
    return "blockdev-add", node


_Layer = t.Callable[[t.Any], t.Dict[str, t.Any]]
_LAYERS: t.Final[tuple[_Layer, ...]] = (
    lambda node: {"driver": "raw", "file": node},
    lambda node: {"driver": "copy-on-read", "file": node},
    lambda node: {"driver": "blkdebug", "image": node},
    lambda node: {"driver": "throttle", "throttle-group": "g", "file": node},
    lambda node: {"driver": "quorum", "vote-threshold": 1, "children": [{"driver": "null-co"}, node]},
    lambda node: {"driver": "qcow2", "file": {"driver": "null-co"}, "backing": node},
    lambda node: {"driver": "qcow2", "file": {"driver": "null-co"}, "backing": None, "data-file": node},
    lambda node: {"driver": "blkverify", "test": {"driver": "null-co"}, "raw": node},
    lambda node: {"driver": "copy-before-write", "file": {"driver": "null-co"}, "target": node},
)


@st.composite
def attacks(draw: st.DrawFn, aim: Aim, world: attacking.World) -> tuple[str, dict[str, t.Any]]:
    version, command, path, kind = aim
    value = draw(t.cast(attacking.Values, attacking.values(kind, command, world)))
    return deeper(draw, command, aimed(version, command, path, value))


@settings(max_examples=500)
@given(data=st.data(), aim=st.sampled_from(POWERED), role=ROLES, consent=st.booleans())
def test_no_powered_field_passes(
    world: attacking.World, data: st.DataObject, aim: Aim, role: str, consent: bool
) -> None:
    """Whatever the spelling, the depth, the role and the consent."""
    command, arguments = data.draw(attacks(aim, world))
    found = verdict(world, aim[0], command, arguments, role, consent)
    assert not found.allowed, found


#: device_add is untyped: the properties that name something of the host's, as classified by hand.
_DEVICE: t.Final[dict[str, str]] = {
    **dict.fromkeys("romfile file kernel initrd db cdat sdrfile frudatafile dir config".split(), "path-read"),
    **dict.fromkeys("pcap pcapfile rootdir jsonfile".split(), "path-write"),
    **dict.fromkeys(("evdev", "hidraw", "host", "sysfsdev", "hostdevice", "hostbus", "hostaddr"), "host-device"),
    **dict.fromkeys("hostport vendorid productid ibdev vhostdev wwpn guest-cid".split(), "host-device"),
    **dict.fromkeys(("fd", "vhostfd"), "fd"),
    **dict.fromkeys(("chardev", "mad-chardev", "chardev1"), "ref"),
    "socket": "path-connect",
    "host_ip": "net-connect",
}
_DRIVERS = st.sampled_from(["virtio-net-pci", "virtio-net", "usb-tablet", "nvme", "pci-serial", "no-such-device"])


@settings(max_examples=200)
@given(
    data=st.data(), name=st.sampled_from(sorted(_DEVICE)), driver=_DRIVERS, role=ROLES, consent=st.booleans(),
    version=st.sampled_from(schemas.VERSIONS),
)  # fmt: skip
def test_no_powered_property_of_a_device_passes(
    world: attacking.World, data: st.DataObject, name: str, driver: str, role: str, consent: bool, version: str
) -> None:
    """Whatever the driver is called; an empty romfile means none."""
    values = t.cast(attacking.Values, attacking.values(_DEVICE[name], "device_add", world))
    value = (
        data.draw(values.filter(lambda text: text != ""))
        if name != "pcap"
        else data.draw(st.one_of(values, st.just(5)))
    )
    arguments = {"driver": driver, "id": "d", name: value}
    found = verdict(world, version, "device_add", arguments, role, consent)
    assert not found.allowed, found


_OBJECTS = ["/objects/s", "s", "/objects//s", "objects/s", "/machine", "/chardevs/maqet-monitor", "/"]
_PROPERTIES = ["data", "rawdata", "Data", "data\n", "kernel", "dumpdtb", "romfile", "file", "policy*", "identity", ""]


@settings(max_examples=200)
@given(
    path=st.sampled_from([*_OBJECTS, "/machine/peripheral/d0"]), name=st.sampled_from(_PROPERTIES),
    command=st.sampled_from(["qom-get", "qom-set"]), role=ROLES, consent=st.booleans(),
    version=st.sampled_from(schemas.VERSIONS),
)  # fmt: skip
def test_no_property_with_a_secret_or_a_power_passes(
    world: attacking.World, path: str, name: str, command: str, role: str, consent: bool, version: str
) -> None:
    """A secret object's text has many addresses."""
    arguments = {"path": path, "property": name, **({"value": "x"} if command == "qom-set" else {})}
    assert not verdict(world, version, command, arguments, role, consent).allowed
    if version == "11.1":
        assert not verdict(world, version, "qom-list-get", {"paths": ["/machine", path]}, role, consent).allowed


#: Never for callers, whatever they say.
_OURS = ("add-fd", "getfd", "closefd", "remove-fd", "qmp_capabilities")
#: Names that people give: nothing in them means more than itself.
NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True)
_HARMLESS = ("ident", "ref", "secret-ref", "opaque", "guest-data", "net-config", "path-match")
_PLAIN = [aim for aim in AIMS if aim[3] in _HARMLESS and aim[1] not in _OURS]


@settings(max_examples=300)
@given(aim=st.sampled_from(_PLAIN), value=NAMES)
def test_plain_names_are_not_blamed(world: attacking.World, aim: Aim, value: str) -> None:
    """What a request with them may be refused for is something else in it."""
    version, command, path, kind = aim
    found = verdict(world, version, command, aimed(version, command, path, value), "admin", True)
    assert found.allowed or found.rule not in (*_FORM, f"field-{kind}", "reserved"), found


@settings(max_examples=300)
@given(aim=st.sampled_from([aim for aim in AIMS if aim[3] in _MADE]), value=NAMES, absolute=st.booleans())
def test_new_files_in_the_output_folder_are_not_blamed(
    world: attacking.World, aim: Aim, value: str, absolute: bool
) -> None:
    """Where QEMU makes a file, a new one in the VM's own folder is what it may make."""
    version, command, path, kind = aim
    name = f"new-{value}"
    text = f"{world.output}/{name}" if absolute else name
    arguments = aimed(version, command, path, f"file:{text}" if kind == "uri-file" else text)
    found = verdict(world, version, command, arguments, "admin", True)
    assert found.allowed or (name not in found.reason and found.rule not in _FORM), found
