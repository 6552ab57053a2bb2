# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""wait_for on real guests: how long after the fact each wait ends, and what it says when it is in vain."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import typing as t
import uuid

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import Wait, wait_for
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import GrowingFile
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import observe
from ansible_collections.maqet.qemu.plugins.module_utils.vm.waiting import Watch
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import CONSOLE, Local, Result, given, kill, remove

# What the issue demands of a wait that has something to wait for, in seconds.
SOON = 0.2
BANNER = "SSH-2.0-maqet_test"
# Guest ports that are forwarded, and the ports of the host that lead there, by guest port.
GUEST_PORTS = (22, 5000, 5001)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has, as far as that can be known."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(socket.socket()) for _number in range(count)]
        for line in lines:
            line.bind(("127.0.0.1", 0))
        return [line.getsockname()[1] for line in lines]


@pytest.fixture(scope="module")
def wanted(agent_guest: Result) -> Result:
    """Options of a VM whose guest has an agent and a network card with forwarded ports."""
    rules = [{"host_port": host, "guest_port": port} for port, host in zip(GUEST_PORTS, free_ports(len(GUEST_PORTS)))]
    return {**agent_guest, "networks": [{"type": "user", "ipv6": False, "hostfwd": rules}]}


@pytest.fixture(scope="module")
def vm(wanted: Result) -> t.Iterator[str]:
    """A VM whose guest has booted, shared by the tests of this file."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    given(chosen, **wanted, wait_for=["agent", "ip", {"serial": "maqet lease: .*\n"}], timeout=120)
    yield chosen
    remove(chosen)


def in_guest(vm: str, script: str) -> None:
    """Begin to run a script in the guest; what it writes gets onto the serial port."""
    program = {"path": "/bin/sh", "arg": ["-c", f"exec >/dev/{CONSOLE} 2>&1; {script}"], "capture-output": False}
    modules.must("maqet_guest", vm=vm, command="guest-exec", arguments=program, allow_dangerous=True)


class Fact(threading.Thread):
    """Notes when a line gets into the serial log of a VM."""

    def __init__(self, vm: str, line: str) -> None:
        super().__init__(daemon=True)
        self._path, self._line = layout().vm(vm).serial_log, line.encode()
        self.time: t.Optional[float] = None

    def run(self) -> None:
        text, end = b"", time.monotonic() + 60
        with GrowingFile(self._path) as log:
            while time.monotonic() < end:
                text += log.read()
                if re.search(self._line, text):
                    self.time = time.time()
                    return
                wait_readable([log.fd], end - time.monotonic())


class Opened(threading.Thread):
    """Notes when a forwarded port is opened: calls it all the time, and is sure a second later."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.time: t.Optional[float] = None

    def run(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.time is None:
            begun = time.time()
            with socket.create_connection(("127.0.0.1", self._port)) as line:
                line.settimeout(1)
                try:
                    taken = line.recv(1) != b""
                    begun = time.time()  # what counts of one that speaks is what it has said
                except socket.timeout:
                    taken = True
                except OSError:
                    taken = False
            if taken:
                self.time = begun
            time.sleep(0.005)


def measured(
    vm: str, waits: t.Any, act: t.Callable[[], t.Any], fact: Fact | Opened | None = None
) -> tuple[float, list[Result]]:
    """(when the waits ended, ``waited``) of waits that began before ``act``, which must make them come."""
    actual = observe(layout(), vm, 30)
    with contextlib.closing(Watch(layout(), vm, actual, wait_for(waits), 60)) as watch:
        if fact is not None:
            fact.start()
        acting = threading.Timer(0.5, act)
        acting.start()
        try:
            watch.wait()
            ended = time.time()
        finally:
            acting.join()
        if fact is not None:
            fact.join(60)
        return ended, watch.waited


def soon(what: str, fact: float | None, ended: float, within: float = SOON) -> None:
    """A figure for people, and the demand."""
    assert fact is not None, f"{what}: the fact was not seen"
    print(f"\n{what}: {(ended - fact) * 1000:.0f} ms after the fact")
    assert -0.1 < ended - fact < within, what  # two threads are told of the same thing, in any order


def stamp_of(event: Result) -> float:
    """QEMU's own time of an event."""
    return float(event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6)


def host_port(vm: str, guest_port: int) -> int:
    """The port of the host that leads there."""
    definition = observe(layout(), vm, 30).definition
    assert definition is not None
    rules = definition.intent["networks"][0]["hostfwd"]
    return int(next(rule["host_port"] for rule in rules if rule["guest_port"] == guest_port))


def test_a_line_on_the_serial_port(vm: str) -> None:
    """The same inotify tells both of it."""
    fact = Fact(vm, "maqet line one")
    ended, _waited = measured(vm, {"serial": "maqet line one"}, lambda: in_guest(vm, "echo maqet line one"), fact)
    soon("serial", fact.time, ended)


def test_the_end_of_cloud_init(vm: str) -> None:
    """Its last words, as it says them on a console."""
    words = "Cloud-init v. 22.4.2 finished at Wed, 25 Nov 2026 12:00:00. Datasource DataSourceNoCloud. Up 12.34 seconds"
    fact = Fact(vm, "Up 12.34 seconds")
    ended, waited = measured(vm, "cloud_init", lambda: in_guest(vm, f"echo '{words}'"), fact)
    soon("cloud_init", fact.time, ended)
    assert waited[0]["found"] == words


def test_an_event(vm: str) -> None:
    """Its time is QEMU's own."""
    ended, waited = measured(vm, {"event": "STOP"}, lambda: modules.must("maqet_qmp", vm=vm, command="stop"))
    modules.must("maqet_qmp", vm=vm, command="cont")
    soon("event", stamp_of(waited[0]["found"]), ended)


def test_an_agent_that_comes_to(vm: str) -> None:
    """The guest of an agent that has been asked is let go on: from QEMU's word for that to the end of the wait."""
    modules.must("maqet_qmp", vm=vm, command="stop")
    resumed: list[Result] = []

    def resume() -> None:
        resumed.extend(modules.must("maqet_qmp", vm=vm, command="cont", wait_for_event="RESUME")["events"])

    ended, _waited = measured(vm, "agent", resume)
    soon("agent", stamp_of(next(event for event in resumed if event["event"] == "RESUME")), ended)


def test_an_address(vm: str) -> None:
    """The guest gives itself one of a kind that it had not, and says so before and after."""
    before, after = Fact(vm, "maqet takes fd00::2"), Fact(vm, "maqet has fd00::2")
    script = "sleep 1; echo maqet takes fd00::2; ip -6 addr add fd00::2/64 dev eth0; echo maqet has fd00::2"
    before.start()
    ended, waited = measured(vm, {"ip": "ipv6"}, lambda: in_guest(vm, script), after)
    soon("ip from the agent", after.time, ended)
    before.join(10)
    assert before.time is not None and before.time < ended
    assert waited[0]["found"]["source"] == "agent"
    (told,) = [one for one in waited[0]["found"]["addresses"] if one["address"] == "fd00::2"]
    assert (told["interface"], told["family"], told["prefix"]) == ("eth0", "ipv6", 64)
    in_guest(vm, "ip -6 addr del fd00::2/64 dev eth0")


def test_a_port_that_speaks(vm: str) -> None:
    """A greeting that comes when the port has long been forwarded."""
    script = (
        f"printf '#!/bin/sh\\necho {BANNER}; sleep 5\\n' >/greet; chmod +x /greet; sleep 1; exec nc -ll -p 22 -e /greet"
    )
    fact = Opened(host_port(vm, 22))
    ended, waited = measured(vm, "ssh", lambda: in_guest(vm, script), fact)
    soon("ssh", fact.time, ended)
    assert waited[0]["found"]["banner"] == BANNER and waited[0]["found"]["address"] == "127.0.0.1"


@pytest.mark.parametrize(("port", "program"), [(5000, "/bin/cat"), (5001, "/bin/deaf")])
def test_a_port_that_is_silent(vm: str, port: int, program: str) -> None:
    """One that waits for us is told from one that nobody takes, and so is one that hears no end."""
    script = "printf '#!/bin/sh\\nexec sleep 60\\n' >/bin/deaf; chmod +x /bin/deaf; sleep 1; "
    fact = Opened(host_port(vm, port))
    ended, waited = measured(
        vm, {"port": port}, lambda: in_guest(vm, f"{script} exec nc -ll -p {port} -e {program}"), fact
    )
    soon(f"port {port}", fact.time, ended, within=0.5)  # more than SOON only where the guest is slow to refuse
    assert waited[0]["found"] == {"address": "127.0.0.1", "port": host_port(vm, port)}


def test_from_the_start(name: str, wanted: Result) -> None:
    """The agent, its addresses, ssh and the lease, of a guest that boots; all side by side in one task."""
    wanted = {**wanted, "networks": [{"type": "user", "hostfwd": [{"host_port": free_ports(1)[0], "guest_port": 22}]}]}
    given(name, **{**wanted, "state": "paused"})
    fact = Fact(name, "maqet lease: eth0 10")
    waits = ["agent", {"ip": "ipv4"}, {"event": "VSERPORT_CHANGE"}, {"serial": "maqet lease: eth0 10.*\n"}]
    ended: dict[str, float] = {}

    def one(index: int, actual: t.Any) -> None:
        with contextlib.closing(Watch(layout(), name, actual, wait_for(waits[index]), 120)) as watch:
            watch.wait()
            ended[str(index)] = time.time()
            ended[f"found {index}"] = watch.waited[0]["found"]

    actual = observe(layout(), name, 30)
    threads = [threading.Thread(target=one, args=(index, actual)) for index in range(len(waits))]
    fact.start()
    for thread in threads:
        thread.start()
    modules.must("maqet_qmp", vm=name, command="cont")
    for thread in threads:
        thread.join(120)
    opened = stamp_of(t.cast(t.Any, ended["found 2"]))
    print(f"\nagent at boot: {(ended['0'] - opened) * 1000:.0f} ms after it has opened the port, part of it its own")
    assert 0 < ended["0"] - opened < 10
    # The guest says it after it has the address. How soon it is known is measured above, with a guest that does nothing
    # else; here four waits have one agent, in a guest that boots.
    assert fact.time is not None and ended["1"] - fact.time < 2
    told = t.cast(t.Any, ended["found 1"])
    assert told["source"] == "agent" and "10.0.2.15" in [one["address"] for one in told["addresses"]]


def test_the_end(name: str) -> None:
    """After the kernel's word for it: SIGKILL, and the process is gone."""
    made = given(name, memory="64", accel="tcg")
    gone: list[float] = []

    def end() -> None:
        kill(made["vm"]["qemu_pid"])
        gone.append(time.time())

    ended, _waited = measured(name, "exit", end)
    soon("exit", gone[0], ended)


def test_all_at_once_through_ansible(local: Local, vm: str) -> None:
    """A running VM without a change: the outcomes, the addresses, and the same again."""
    waits = [{"agent": {"timeout": 30}}, "running", {"ip": {"family": "ipv4"}}, {"serial": "maqet guest ready"}]
    task = {"maqet_vm": {"name": vm, "wait_for": waits}}
    checked, first, second = local.run({**task, "check_mode": True}, task, task)
    for result in (first, second):
        assert not result["failed"] and result["changed"] is False, result
        assert {entry["wait"] for entry in result["waited"]} == {
            "agent",
            "running",
            "ip: ipv4",
            "serial: maqet guest ready",
        }
        assert "10.0.2.15" in [address["address"] for address in result["vm"]["addresses"]]
        assert {record["op"] for record in result["audit"]} == {"guest-ping", "guest-network-get-interfaces"}
    assert not checked["failed"] and "waited" not in checked


def test_in_vain(local: Local, vm: str, name: str) -> None:
    """Each time-out is its own, and says what was last seen."""
    closed, silent, ip, unforwarded, no_agent = local.run(
        {
            "maqet_vm": {
                "name": vm,
                "wait_for": ["running", {"port": {"port": 5002, "address": "127.0.0.1", "timeout": 1}}],
            }
        },
        {"maqet_vm": {"name": vm, "wait_for": [{"ssh": {"port": 5001, "timeout": 1}}, "exit"]}},
        {"maqet_vm": {"name": vm, "wait_for": [{"ip": {"family": "ipv6", "timeout": 1}}], "timeout": 60}},
        {"maqet_vm": {"name": vm, "wait_for": [{"ssh": 2223}]}},
        {"maqet_vm": {"name": name, "state": "running", "wait_for": ["agent"], "accel": "tcg", "memory": "64"}},
    )
    assert closed["error_code"] == "wait_timeout" and "did not come within 1 s" in closed["msg"]
    assert "127.0.0.1 port 5002 refuses: Connection refused" in closed["msg"], closed["msg"]
    assert [entry["wait"] for entry in closed["waited"]] == ["running"]
    assert silent["error_code"] == "wait_timeout" and "Still open: exit" in silent["msg"]
    assert ip["error_code"] == "wait_timeout" and "eth0 10.0.2.15" in ip["msg"], ip["msg"]
    assert unforwarded["error_code"] == "invalid_option" and "guest_port: 2223" in unforwarded["msg"]
    assert no_agent["error_code"] == "invalid_option" and "agent: true" in no_agent["msg"]


def test_a_port_whose_guest_has_no_network(name: str, wanted: Result) -> None:
    """Before the guest answers at all, an open line says nothing: this is where others are mistaken."""
    rules = [{"host_port": free_ports(1)[0], "guest_port": 5000}]
    made = {**wanted, "state": "paused", "networks": [{"type": "user", "hostfwd": rules}]}
    given(name, **made)
    actual = observe(layout(), name, 30)
    watch = Watch(layout(), name, actual, [Wait("port", port=5000)], 3)
    with contextlib.closing(watch), pytest.raises(MaqetError, match="does not answer"):
        watch.wait()
