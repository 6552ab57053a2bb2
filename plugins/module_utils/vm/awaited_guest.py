# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells that a guest has come so far: its agent, its addresses, its ports."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import Wait, bridges, forward, is_forwarded
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.dial import Dial, Place
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import addresses
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm.awaited import Found, Over, Source, Watched
from ansible_collections.maqet.qemu.plugins.module_utils.vm.bridged import Bridged
from ansible_collections.maqet.qemu.plugins.module_utils.vm.revive import asking

# The runner shall say why there was no answer before we say that there was none, in seconds.
_SOONER = 0.1
# The agent went away, and may do so again and again; in seconds.
_PAUSE = 0.1
# After these the same may be asked again: the agent or the runner has gone, and another will come.
_AGAIN = ("guest_unreachable", "runner_unreachable")


class Agent(Source):
    """``agent``: an answer to guest-ping, or to what else is asked. The runner is told by QEMU when the agent comes."""

    _seen = "the agent was not asked yet"
    command = "guest-ping"
    fields: t.Mapping[str, t.Any] = {}

    def __init__(self, watched: Watched, deadline: Deadline) -> None:
        self._watched = watched
        self._deadline = deadline
        self._client: t.Optional[RunnerClient] = None
        self._next = time.monotonic()

    def look(self, ended: bool) -> t.Optional[Found]:
        if ended:
            raise Over()
        try:
            answer = self._answer()
        except MaqetError as error:
            self._watched.audit.extend(error.details.get("audit", ()))
            self.close()
            if error.error_code != "guest_timeout" and error.error_code not in _AGAIN:
                raise
            self._seen = str(error)
            self._next = time.monotonic() + _PAUSE
            return None
        if answer is None:
            return None
        self._watched.audit.extend(answer["audit"])
        self.close()
        return self.found(answer["responses"][0])

    def found(self, _response: t.Any) -> t.Optional[Found]:
        """What the answer says."""
        return Found()

    def fds(self) -> list[int]:
        return [] if self._client is None else [self._client.fileno()]

    def due(self) -> t.Optional[float]:
        return self._next if self._client is None else None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _answer(self) -> t.Optional[dict[str, t.Any]]:
        if self._client is not None:
            try:
                return self._client.arrived()
            except Unread:  # it has not heard us, and the next one will
                self.close()
        if time.monotonic() >= self._next and self._deadline.left() > 0:
            asking(self._watched.where, self._watched.paths.name, self._deadline.left(), self._ask)
        return None

    def _ask(self) -> None:
        """Have the runner wait for the agent, and ask it."""
        left = self._deadline.left()
        client = RunnerClient(self._watched.paths.runner_socket, self._watched.paths.name, left + 5)
        try:
            client.begin(
                "guest",
                commands=[{"execute": self.command, "arguments": {}}],
                timeout=max(left - _SOONER, left / 2, 0.001),
                wait_agent=True,
                **self.fields,
                **self._watched.asker,
            )
        except BaseException:
            client.close()
            raise
        self._client = client
        self._seen = "the agent was asked, and has not answered"


class AgentAddresses(Agent):
    """The addresses that the agent names, once one of them can be used."""

    command = "guest-network-get-interfaces"

    def __init__(self, watched: Watched, deadline: Deadline, family: str) -> None:
        super().__init__(watched, deadline)
        self._family = family
        self.fields = {"wait_address": {"family": family, "macs": list(watched.macs)}}

    def found(self, response: t.Any) -> t.Optional[Found]:
        told = addresses.of_agent(response)
        if addresses.usable(told, self._family, self._watched.macs):
            return Found({"source": "agent", "addresses": told})
        # A runner of an older collection answers at once.
        self._seen = f"no address that can be used; the agent names: {addresses.in_words(told)}"
        self._next = time.monotonic() + _PAUSE
        return None


class Addresses(Source):
    """``ip``: whoever is the first to tell an address, the agent in the guest or the host's side of a bridge."""

    def __init__(self, watched: Watched, deadline: Deadline, family: str) -> None:
        self._sources: list[Source] = []
        if watched.agent:
            self._sources.append(AgentAddresses(watched, deadline, family))
        cards = {watched.macs[index]: bridge for index, bridge in bridges(watched.networks).items()}
        if cards:
            self._sources.append(Bridged(watched, cards, family))

    def look(self, ended: bool) -> t.Optional[Found]:
        if ended:
            raise Over()
        for source in self._sources:
            found = source.look(ended)
            if found is not None:
                return found
        return None

    def fds(self) -> list[int]:
        return [fd for source in self._sources for fd in source.fds()]

    def due(self) -> t.Optional[float]:
        times = [source.due() for source in self._sources]
        return min((due for due in times if due is not None), default=None)

    def seen(self) -> str:
        return "; ".join(source.seen() for source in self._sources) or "nobody can tell the addresses of this VM"

    def close(self) -> None:
        for source in self._sources:
            source.close()


class Port(Source):
    """``ssh`` and ``port``: a port of the host that leads into the guest, or one at the guest's own address."""

    def __init__(self, watched: Watched, deadline: Deadline, wait: Wait) -> None:
        self._wait = wait
        self._dial: t.Optional[Dial] = None
        self._addresses: t.Optional[Addresses] = None
        led = forward(watched.networks, wait.port)
        if wait.address:
            self._call(wait.address, wait.port, is_forwarded(watched.networks, wait.address, wait.port))
        elif led is not None:
            self._call(*led, forwarded=True)
        else:
            self._addresses = Addresses(watched, deadline, "any")

    def look(self, ended: bool) -> t.Optional[Found]:
        if ended:
            raise Over()
        if self._addresses is not None:
            found = self._addresses.look(ended)
            if found is None:
                return None
            self._addresses.close()
            self._addresses = None
            self._call(_best(found.value["addresses"]), self._wait.port, False)
        heard = t.cast(Dial, self._dial).step()  # it is made before we come here, at the latest just above
        return None if heard is None else Found(heard)

    def fds(self) -> list[int]:
        return self._addresses.fds() if self._addresses is not None else [self._dial.fd] if self._dial else []

    def due(self) -> t.Optional[float]:
        return self._addresses.due() if self._addresses is not None else self._dial.due() if self._dial else None

    def seen(self) -> str:
        if self._addresses is not None:
            return self._addresses.seen()
        return self._dial.seen if self._dial else "nothing"

    def close(self) -> None:
        for part in (self._addresses, self._dial):
            if part is not None:
                part.close()

    def _call(self, address: str, port: int, forwarded: bool) -> None:
        self._dial = Dial(Place(address, port, forwarded, b"SSH-" if self._wait.kind == "ssh" else b""))


def _best(told: t.Sequence[addresses.Address]) -> str:
    """IPv4 first, which more hosts have a way to."""
    can = addresses.usable(told, "any", ())
    return str(next((one for one in can if one["family"] == "ipv4"), can[0])["address"])
