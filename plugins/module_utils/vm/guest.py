# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``maqet_guest`` does: ask the VM's runner to ask the agent in the guest, and read what comes back.

The agent's port serves one client, and that is the runner: there is no other way, so no way past its guard.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.sizes import reply_bytes
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.guard.agent_commands import CLASS_OF
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import redact, redact_error, secrets
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths, layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.vm import guest_deeds, guest_files, guest_talk
from ansible_collections.maqet.qemu.plugins.module_utils.vm.guest_talk import GRACE
from ansible_collections.maqet.qemu.plugins.module_utils.vm.reach import reach

Answer = t.Dict[str, t.Any]
Params = t.Mapping[str, t.Any]

# Commands of these classes change nothing in the guest.
_HARMLESS = ("read", "introspect", "disclosure")


@dataclasses.dataclass(frozen=True)
class Plan:
    """One task's options, checked. ``form``: the option that says what to do. ``limit``: bytes of a file that is read.

    ``used``: names of the commands behind the result's decisions, if they are not ``commands``.
    """

    vm: str
    form: str
    commands: list[Answer]
    fields: Answer
    wanted: t.Any = None
    limit: int = 0
    used: list[str] = dataclasses.field(default_factory=list)


def checked(params: Params, check: bool, context: Params) -> Plan:
    """The task's options, refused where they cannot be; no VM has been looked at."""
    if params["timeout"] <= 0:
        raise invalid_option("timeout", params["timeout"], "is no time to wait", "Give seconds, more than 0")
    form = next(option for option in (*guest_deeds.FORMS, "exec", "commands", "command") if params[option] is not None)
    for option in ("addresses", "time_sync"):
        if params[option] is False:
            raise invalid_option(option, False, "says not what to do", f"Write {option}: true, or leave it out.")
    limit = 0
    if form == "put":
        guest_files.checked_put(params["put"])
    elif form == "get":
        guest_files.checked_get(params["get"])
        limit = reply_bytes("get.limit", params["get"]["limit"], guest_files.LARGEST)
    fields = {
        "allow_dangerous": params["allow_dangerous"],
        "check": check,
        "explain": params["explain"],
        "reason": redact_error(params["reason"], shown(params)[1]),  # it may quote a password of any of the commands
        "context": dict(context),
        "timeout": params["timeout"],
        "max_reply": reply_bytes("max_reply", params["max_reply"]),
        "wait_agent": params["wait_for_agent"],
        "wait_exit": form == "exec",
    }
    deed = form in guest_deeds.FORMS
    commands = guest_deeds.needed(form, params[form]) if deed else _commands(params)
    return Plan(check_vm_name(params["vm"]), form, commands, fields, params[form], limit)


def shown(params: Params) -> tuple[Answer, set[str]]:
    """The options as a result may repeat them, and the secrets that it must not."""
    clean: Answer = {}
    hidden: set[str] = set()
    for option in ("arguments", "commands"):
        if params[option]:
            listed = params["commands"] or [{"command": params["command"], "arguments": params["arguments"]}]
            redacted = [redact(item["command"], item.get("arguments") or {})[0] for item in listed]
            for item in listed:
                hidden |= _with_plain(secrets(item["command"], item.get("arguments") or {}))
            if option == "arguments":
                clean[option] = redacted[0]
            else:
                clean[option] = [{**item, "arguments": arguments} for item, arguments in zip(listed, redacted)]
    if params["exec"] is not None:
        program, arguments = _program(params["exec"])
        kept = {"path": program, "argv": {"redacted": True, "len": len(arguments)}}
        cut = {key: _cut(params["exec"][key]) for key in ("env", "input")}
        clean["exec"] = {**params["exec"], **kept, **cut}
    if params["put"] is not None:
        clean["put"] = {**params["put"], "content": _cut(params["put"]["content"])}
    return clean, hidden


def run(plan: Plan) -> Answer:
    """Have the commands sent and return the task's result; MaqetError carries what had been done until then."""
    if plan.form in guest_deeds.FORMS and not plan.fields["explain"]:
        return _deed(plan)
    paths = layout().vm(plan.vm)
    try:
        answer = _ask(paths, plan)
    except MaqetError as error:
        # The last command counts too if the agent may have got it and has not refused it.
        sent = len(error.details.get("responses", [])) + bool(error.details.get("sent"))
        error.details["changed"] = any(_changes(plan, index) for index in range(sent))
        if plan.form == "command" and error.details.get("decisions"):
            error.details["decision"] = error.details.pop("decisions")[0]
        raise
    would = not plan.fields["explain"] and any(_changes(plan, index) for index in range(len(plan.commands)))
    return {"changed": would, **_result(plan, answer)}


def warnings(result: Answer, plan: Plan) -> list[str]:
    """What the user should see of commands that are allowed but not harmless."""
    decisions = result.get("decisions") or [result["decision"]]
    return [
        f"{command} is of the class {decision['class']}; it is audited as a warning."
        for command, decision in zip(plan.used or [one["execute"] for one in plan.commands], decisions)
        if decision["level"] == "warning"
    ]


def _deed(plan: Plan) -> Answer:
    """What the task asks for, in as many requests as it takes."""
    talk = guest_talk.Talk(plan.vm, plan.fields)
    result = guest_deeds.do(plan.form, plan.wanted, talk, plan.limit)
    plan.used.extend(talk.verdicts)
    told = {"audit": talk.audit, "decisions": list(talk.verdicts.values()), "events": talk.events}
    return {**told, **result}


def _commands(params: Params) -> list[Answer]:
    if params["exec"] is not None:
        return [{"execute": "guest-exec", "arguments": _exec_arguments(params["exec"])}]
    items = params["commands"]
    if items is None:
        items = [{"command": params["command"], "arguments": params["arguments"]}]
    return [{"execute": item["command"], "arguments": item["arguments"] or {}} for item in items]


def _program(wanted: Params) -> tuple[str, list[str]]:
    """Program and arguments."""
    if wanted["argv"] is None:
        return wanted["path"], []
    if not wanted["argv"]:
        raise invalid_option("exec.argv", [], "names no program", "Give the program and its arguments as a list")
    return wanted["argv"][0], list(wanted["argv"][1:])


def _exec_arguments(wanted: Params) -> Answer:
    program, arguments = _program(wanted)
    result: Answer = {"path": program, "arg": arguments, "capture-output": wanted["capture"]}
    if wanted["env"] is not None:
        result["env"] = [f"{name}={value}" for name, value in wanted["env"].items()]
    if wanted["input"] is not None:
        result["input-data"] = base64.b64encode(wanted["input"].encode("utf-8", "surrogateescape")).decode()
    return result


def _cut(value: t.Any) -> t.Any:
    return None if value is None else {"redacted": True, "len": len(value)}


def _with_plain(hidden: set[str]) -> set[str]:
    """Passwords travel in base64, which hides nothing: what they say is masked too."""
    plain = set()
    for secret in hidden:
        try:
            plain.add(base64.b64decode(secret, validate=True).decode())
        except (ValueError, binascii.Error):
            continue
    return hidden | plain


def _changes(plan: Plan, index: int) -> bool:
    return index < len(plan.commands) and CLASS_OF.get(plan.commands[index]["execute"]) not in _HARMLESS


def _ask(paths: VmPaths, plan: Plan) -> Answer:
    seconds = plan.fields["timeout"]

    def ask() -> Answer:
        with RunnerClient(paths.runner_socket, paths.name, seconds + GRACE) as client:
            return client.request("guest", commands=plan.commands, **plan.fields)

    return reach(layout(), paths.name, seconds, ask, looking=plan.fields["check"] or plan.fields["explain"])


def _result(plan: Plan, answer: Answer) -> Answer:
    if plan.form == "exec" and answer["responses"]:
        return _ended(answer)
    if plan.form != "command":
        return answer
    single = {"decision": answer["decisions"][0], "audit": answer["audit"], "events": answer["events"]}
    return {**single, "response": answer["responses"][0]} if answer["responses"] else single


def _ended(answer: Answer) -> Answer:
    """The result of a program; ``guest_exit`` if it has failed. The agent's word is checked like anybody's."""
    started, status = answer.pop("responses")
    if not isinstance(status, dict):
        raise MaqetError("The guest's agent answered guest-exec-status without a status.", "guest_unreachable")
    result: Answer = {**answer, "pid": started["pid"], **_streams(status)}
    code, number = status.get("exitcode"), status.get("signal")
    result["rc"] = code if isinstance(code, int) else -number if isinstance(number, int) else None
    if result["rc"] != 0:
        how = f"was ended by signal {number}" if isinstance(number, int) else f"ended with status {result['rc']}"
        raise MaqetError(f"The program in the guest {how}.", "guest_exit", **{**result, "changed": True})
    return result


def _streams(status: Answer) -> Answer:
    """What the program wrote; bytes that are no UTF-8 become U+FFFD."""
    result: Answer = {}
    for stream, key in (("stdout", "out"), ("stderr", "err")):
        try:
            data = base64.b64decode(status.get(f"{key}-data", ""), validate=True)
        except (TypeError, ValueError, binascii.Error):
            message = f"What the guest's agent calls {stream} is not base64; the program has ended."
            raise MaqetError(message, "guest_unreachable") from None
        result[stream] = data.decode("utf-8", "replace")
        result[f"{stream}_truncated"] = status.get(f"{key}-truncated") is True
    return result
