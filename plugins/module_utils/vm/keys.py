# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``maqet_keys`` does: have QEMU press keys, no more at a time than it can keep, and wait until it has."""

from __future__ import annotations

import dataclasses
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import redact_error
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths, layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import keyboard
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Answer, Asked
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.keyboard_layouts import translate
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm.reach import send, talk

Params = t.Mapping[str, t.Any]

# Each combination is two audit records, on the host and in the result.
_MOST = 10_000
_LONGEST_HOLD = 60_000
# A line of the text that is shorter is not looked for in the reason: it would be found in many words.
_TELLING = 4
# What ends the typing: QEMU drops keys for a machine that does not run.
_ENDS = {"STOP": "was paused", "SHUTDOWN": "was shut down"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """One task's options, checked. ``hold``: milliseconds after each press and release."""

    vm: str
    chords: t.Sequence[keyboard.Chord]
    hold: int
    asked: Asked


def shown(params: Params) -> Answer:
    """The options as a result may repeat them: a text may be a password, and the reason may quote it."""
    text = params["text"]
    clean = None if text is None else {"redacted": True, "len": len(text)}
    return {"text": clean, "reason": _reason(params)}


def _reason(params: Params) -> str:
    lines = {line.strip() for line in (params["text"] or "").splitlines()}
    return redact_error(params["reason"], {line for line in lines if len(line) >= _TELLING})


def checked(params: Params, check: bool, context: Params) -> Plan:
    """The task's options, refused where they cannot be; no VM has been looked at."""
    if params["timeout"] <= 0:
        raise invalid_option("timeout", params["timeout"], "is no time to wait", "Give seconds, more than 0")
    hold = params["hold_ms"]
    if not 1 <= hold <= _LONGEST_HOLD:
        remedy = f"Give 1 to {_LONGEST_HOLD} milliseconds"
        raise invalid_option("hold_ms", hold, "is no time to hold a key", remedy)
    if params["keys"] is None:
        chords = translate("text", params["text"], params["layout"])
    else:
        chords = [keyboard.combination(f"keys[{index}]", words) for index, words in enumerate(params["keys"])]
    option = "text" if params["keys"] is None else "keys"
    if not chords:
        raise invalid_option(option, params[option], "presses no key", "Leave the task out if there is nothing to type")
    if len(chords) > _MOST:
        problem = f"is more than {_MOST} keys"
        remedy = "A file gets into a guest by cloud-init, a disk or its agent"
        raise invalid_option(option, f"<{len(chords)} keys>", problem, remedy)
    asked = Asked([], params["timeout"], check=check, reason=_reason(params), context=context)
    return Plan(check_vm_name(params["vm"]), chords, hold, asked)


def run(plan: Plan) -> Answer:
    """Type, and return the task's result when QEMU has done it; MaqetError carries what had been typed until then."""
    where = layout()
    parts = keyboard.portions(plan.chords)
    result: Answer = {"changed": False, "typed": 0, "audit": [], "events": []}
    try:
        if not plan.asked.sends:
            _check_running(where, plan)
        if len(parts) > 1 or not plan.asked.sends:
            result["decision"] = _judged(where, plan)
        if not plan.asked.sends:
            return {**result, "changed": True, "typed": len(plan.chords)}
        with _Watch(where, plan) as watch:
            for index, part in enumerate(parts):
                _send(where, plan, part, result)
                _await(watch, keyboard.seconds(part, plan.hold), index + 1 == len(parts), plan, result)
    except MaqetError as error:
        _complete(error, result)
        raise
    return {**result, "changed": True}


def _complete(error: MaqetError, result: Answer) -> None:
    """Add what had been done to an error, and leave out what says nothing of keys."""
    details = error.details
    audit = result["audit"] + details.pop("audit", [])
    details.pop("responses", None)
    decisions = details.pop("decisions", None)
    if decisions:
        details["decision"] = _worst(decisions)
    error.details = {**result, **details, "audit": audit, "changed": result["typed"] > 0}


def warnings(result: Answer) -> list[str]:
    """What the user should know of a task that has succeeded."""
    if any(event["event"] == "STOP" for event in result["events"]):
        return ["The VM was paused while keys were typed; QEMU types the rest when it goes on."]
    return []


def _commands(plan: Plan, chords: t.Iterable[keyboard.Chord]) -> list[t.Mapping[str, t.Any]]:
    return [keyboard.PROBE, *(keyboard.command(chord, plan.hold) for chord in chords)]


def _check_running(where: Layout, plan: Plan) -> None:
    """What QEMU would say of a machine that does not run."""

    def ask(paths: VmPaths) -> str:
        with RunnerClient(paths.runner_socket, paths.name, plan.asked.seconds) as client:
            return str(client.request("status")["run_state"])

    if talk(where, plan.vm, plan.asked.seconds, ask, looking=True) not in ("running", "suspended"):
        raise keyboard.paused(plan.vm)


def _judged(where: Layout, plan: Plan) -> Answer:
    """What the guard says of all of it, before the first key: a portion is judged only when its turn comes.

    What is denied is sent, if anything is, so that it is refused and recorded.
    """
    commands = _commands(plan, dict.fromkeys(plan.chords))
    explaining = plan.asked._replace(commands=commands, explain=plan.asked.sends)
    decisions = send(where, plan.vm, explaining)["decisions"]
    denied = [command for command, verdict in zip(commands, decisions) if verdict["decision"] == "deny"]
    if denied:
        send(where, plan.vm, plan.asked._replace(commands=denied))
    return _worst(decisions)


def _worst(decisions: t.Sequence[Answer]) -> Answer:
    """The verdict to show of many: a denial if there is one, else that on the last command, which is a key."""
    return next((verdict for verdict in decisions if verdict["decision"] == "deny"), decisions[-1])


def _send(where: Layout, plan: Plan, part: t.Sequence[keyboard.Chord], result: Answer) -> None:
    """Put keys into QEMU's queue."""
    try:
        answer = send(where, plan.vm, plan.asked._replace(commands=_commands(plan, part)))
    except MaqetError as error:
        result["typed"] += max(0, len(error.details.get("responses", [])) - 1)  # the first was not a key
        raise keyboard.unheard(error, plan.vm) from None
    result["typed"] += len(part)
    result["audit"] += answer["audit"]
    result["decision"] = _worst(answer["decisions"])


def _await(watch: _Watch, seconds: float, last: bool, plan: Plan, result: Answer) -> None:
    """Wait until QEMU has typed what it was sent. With more to come, the end of the guest's running is an error."""
    event = watch.pause(seconds)
    if event is None:
        return
    result["events"].append(event)
    if not last:
        raise MaqetError(
            f"VM {plan.vm} {_ENDS[event['event']]} after {result['typed']} of {len(plan.chords)} keys or combinations, "
            "and QEMU drops what is typed then.",
            "vm_paused" if event["event"] == "STOP" else "vm_not_running",
        )


class _Watch:
    """Hears from the runner when the guest stops running."""

    def __init__(self, where: Layout, plan: Plan) -> None:
        self._where = where
        self._vm = plan.vm
        # For the whole task; how long each wait may take is said there.
        self._seconds = plan.asked.seconds + 2 * keyboard.seconds(plan.chords, plan.hold)
        self._client: t.Optional[RunnerClient] = None

    def __enter__(self) -> _Watch:
        self._client = self._connected()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._client is not None:
            self._client.close()

    def pause(self, seconds: float) -> t.Optional[Answer]:
        """The first event of those that end the typing, or None if none comes within ``seconds``."""
        deadline = Deadline(seconds)
        while True:
            if self._client is None:
                self._client = self._connected()
            try:
                return self._client.next_event(deadline)
            except socket.timeout:
                return None
            except Unread:  # the runner was replaced, which neither QEMU nor the guest notices
                self._client.close()
                self._client = None

    def _connected(self) -> RunnerClient:
        def ask(paths: VmPaths) -> RunnerClient:
            client = RunnerClient(paths.runner_socket, paths.name, self._seconds)
            try:
                client.subscribe(sorted(_ENDS))
            except BaseException:
                client.close()
                raise
            return client

        return talk(self._where, self._vm, self._seconds, ask, looking=False)
