# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that a failure has under ``error_code``. They are read from the source; here is what they mean.

A word stands in the source as the second argument of an error, as the value of ``error_code``, or as that of something
that is called ``code``: a variable, or a parameter of a function, whose callers are looked at.
"""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.docs.tools import rst

PLUGINS: t.Final = Path(__file__).resolve().parents[2] / "plugins"
_PREFIX: t.Final = "ansible_collections.maqet.qemu.docsite."
_WORD: t.Final = re.compile(r"[a-z]+(_[a-z]+)*")

#: Word -> what has happened, and what to do.
MEANINGS: t.Final[dict[str, tuple[str, str]]] = {
    "audit_failed": ("The audit log cannot be written, so nothing was sent (or its outcome is not recorded).",
                     "Look at the log's folder: space, mode."),
    "audit_not_found": ("There is no audit log of that VM.", "Check the name; become, if the VM is the system's."),
    "audit_tampered": ("The log lacks a record that an earlier task saw, or has another one in its place.",
                       "Find out who may write the log; ``maqet_audit_info`` names the first wrong line."),
    "client_gone": ("The task that had asked for the agent has ended meanwhile. Only the audit has this.",
                    "Nothing; the record says whether the command was sent."),
    "command_failed": ("A program of the host, such as ``qemu-img``, has failed; its words are in the message.",
                       "What they say."),
    "destination_unreachable": ("The other host of a migration does not answer.",
                                "Check its connection; run it again."),
    "file_refused": ("The guard may not hand that file to QEMU, or take what QEMU has written.",
                     "A path without links, of a regular file."),
    "guest_agent_unavailable": ("The VM has no port for an agent, or nobody answers at it.",
                                "``agent: true``, and qemu-guest-agent in the guest."),
    "guest_error": ("The agent has refused a command; ``guest_class`` and its words say why.", "What they say."),
    "guest_exit": ("The program in the guest has ended with another status than 0.", "Its output in the result."),
    "guest_reply_too_large": ("The agent's answer is larger than what is taken.", "Ask for less, or for parts."),
    "guest_timeout": ("The agent has not answered in time.", "Raise ``timeout``; see whether the guest hangs."),
    "guest_unreachable": ("What the agent sends is no answer, or its port was closed.",
                          "Restart the agent in the guest."),
    "host_error": ("The host's kernel has refused something: no space, no permission, no such folder.",
                   "The file and the reason are in the message."),
    "host_unreachable": ("One of the two hosts of a migration does not answer.", "Check its connection; run it again."),
    "internal": ("A mistake of ours in a runner. Its log has the traceback.", "Report it, with that log."),
    "invalid_command": ("The name can be no command of QMP.", "Correct it."),
    "invalid_option": ("An option is misspelt, has a value that cannot be, or names what is not there.",
                       "The message names option, value and remedy."),
    "invalid_request": ("A client of the runner has sent what is no request of the protocol.",
                        "For those who write clients: :ref:`the protocol <{prefix}runner>`."),
    "job_failed": ("A job of QEMU's, such as saving a snapshot, has failed.", "QEMU's words in the message."),
    "libraries_missing": ("The runner's Python lacks a library.", "The role ``maqet.qemu.hypervisor``, or pip."),
    "migration_cancelled": ("The migration was given up by who asked for it. The guest goes on where it was.", ""),
    "migration_failed": ("The migration has failed; the guest goes on where it was.", "The reason in the message."),
    "migration_refused": ("This VM cannot be sent, or not to that host; nothing has been begun.",
                          "The reason in the message: :ref:`what must fit <{prefix}migration>`."),
    "migration_undecided": ("Both hosts stand still, as one cannot be asked.",
                            "The same task, once that host is back; or ``reclaim: true``."),
    "migration_unknown": ("A host does not know of the migration that it is asked for.", "Run the task again."),
    "monitor_unreachable": ("A monitor of QEMU does not answer, or was closed.",
                            "See whether QEMU hangs (``mode: direct`` is the other monitor)."),
    "no_display": ("The VM has no screen.", "``display: headless``."),
    "no_identity": ("No number is left for QEMU's own user.", "Look at the range of the container."),
    "no_keyboard": ("The VM has no keyboard.", "``display: headless`` on aarch64."),
    "policy_denied": ("The guard has denied it; ``decision`` has rule and reason, ``allow_with`` what would open it.",
                      ":ref:`The policy <{prefix}policy>`."),
    "qemu_failed": ("QEMU has ended before it was ready; its last words are in the message.", "What they say."),
    "qemu_gone": ("QEMU has ended while a command was on its way.", "``last_exit`` of ``maqet_vm_info``."),
    "qemu_not_found": ("QEMU or ``qemu-img`` is not installed.", "The role ``maqet.qemu.hypervisor``, or the package."),
    "qemu_orphaned": ("A QEMU of that name lives whose VM is not defined any more.", "``state: absent`` ends it."),
    "qemu_unidentified": ("Something lives that may be this VM's QEMU, and it cannot be told.",
                          "Look at the process that the message names."),
    "qmp_error": ("QEMU has refused the command; ``qmp_class`` and ``qmp_desc`` are its words.", "What they say."),
    "qmp_timeout": ("QEMU has not answered in time. ``outcome_unknown``: it may have carried it out.",
                    "Raise ``timeout``; ask the VM how it is."),
    "restart_required": ("The change cannot be made while the VM runs, and nothing was changed.",
                         "``allow_restart: true``: :ref:`what a change costs <{prefix}changes>`."),
    "runner_busy": ("The runner has more clients or requests than it takes.", "Try again, with fewer at a time."),
    "runner_failed": ("The runner has not come up; the end of its log is in the message.", "What it says."),
    "runner_outdated": ("The VM's runner is of a version that cannot do this.", "``runner: upgrade`` of ``maqet_vm``."),
    "runner_unreachable": ("The VM's runner does not answer. ``outcome_unknown``: it may have carried it out.",
                           "Run the task again, which gives the VM a runner; ``mode: direct`` meanwhile."),
    "snapshot_incomplete": ("The snapshot is not on all disks that it should be on.", "Remove it; name the disks."),
    "snapshot_mismatch": ("The memory was saved of another machine than the VM is now.",
                          "``memory: false``, or the definition of then."),
    "snapshot_not_found": ("There is no snapshot of that name.", "``maqet_vm_info`` lists them."),
    "snapshot_unfinished": ("A revert was broken off, so the disks are of two times.",
                            "Revert again, or start the VM."),
    "socket_not_found": ("There is no monitor at the path of ``socket``.", "Check the path, and that its QEMU runs."),
    "state_unsafe": ("A file or folder of ours is damaged, or others may write it.",
                     "The file and what is wrong with it."),
    "stop_timeout": ("The guest has not powered off in time. It still runs.", "``force: true``, or ``stop_timeout``."),
    "unplug_failed": ("The guest has not let go of a device.", "Free it in the guest, or restart the VM."),
    "vm_busy": ("Another task works on the VM; the message says which.", "Wait for it, or raise ``timeout``."),
    "vm_exists": ("The host that a VM is to move to has one of that name.", "Remove or rename one."),
    "vm_exited": ("The VM has ended while it was waited for.", "``last_exit`` of ``maqet_vm_info``, the serial log."),
    "vm_migrated": ("The VM has moved to another host, and must not run here.", "Use it there."),
    "vm_migrating": ("The VM is on its way from or to another host.", "Wait for that task, or run it again."),
    "vm_not_found": ("There is no VM of that name for this user.", "The names that are there, and become."),
    "vm_not_running": ("The VM does not run.", "``state: running``."),
    "vm_paused": ("The VM stands still, so nobody takes the keys.", "``cont``, or ``state: running``."),
    "vms_failed": ("Some VMs of the list have failed; ``vms`` says which and why.", "Their own ``error_code``."),
    "wait_timeout": ("What was waited for has not come in time; ``last_seen`` says what was seen.",
                     "Raise its ``timeout``, look at the serial log."),
}  # fmt: skip


def _constants(node: ast.AST) -> list[str]:
    """The words that an expression can be: a text, or one of two."""
    if isinstance(node, ast.IfExp):
        return _constants(node.body) + _constants(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _named(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _takers(tree: ast.AST) -> tuple[dict[str, int], list[str]]:
    """Functions with a parameter ``code``, with its place among the arguments of a call; and its defaults."""
    places, words = {"MaqetError": 1}, []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [argument.arg for argument in node.args.args]
            if "code" in names:
                places[node.name] = names.index("code") - (names[0] in ("self", "cls"))
                words += [word for default in node.args.defaults for word in _constants(default)]
    return places, words


def words_of(source: str) -> set[str]:
    """The words of one file."""
    tree = ast.parse(source)
    places, found = _takers(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            place = places.get(_named(node), len(node.args))
            found += [word for argument in node.args[place : place + 1] for word in _constants(argument)]
            found += [
                word for one in node.keywords if one.arg in ("code", "error_code") for word in _constants(one.value)
            ]
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values)
            found += [
                word
                for key, value in pairs
                if key is not None and "error_code" in _constants(key)
                for word in _constants(value)
            ]
        elif isinstance(node, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id == "code" for one in node.targets
        ):
            found += _constants(node.value)
    return {word for word in found if _WORD.fullmatch(word)}


def raised() -> dict[str, list[str]]:
    """Word -> the files that raise it, below ``plugins`` and without ``module_utils/``."""
    found: dict[str, list[str]] = {}
    for path in sorted(PLUGINS.rglob("*.py")):
        name = str(path.relative_to(PLUGINS)).replace("module_utils/", "", 1)
        for word in words_of(path.read_text("utf-8")):
            found.setdefault(word, []).append(name)
    return found


def table() -> list[str]:
    """Lines of the table. ValueError for a word without a meaning, or a meaning without a word."""
    files = raised()
    if files.keys() != MEANINGS.keys():
        lacking, left = sorted(files.keys() - MEANINGS.keys()), sorted(MEANINGS.keys() - files.keys())
        raise ValueError(f"error codes without a meaning {lacking}, meanings that nothing raises {left}")
    rows = []
    for word in sorted(files):
        meaning, remedy = MEANINGS[word]
        rows.append(
            (f"``{word}``", meaning, remedy.format(prefix=_PREFIX), ", ".join(f"``{name}``" for name in files[word]))
        )
    return rst.table(("Word", "What has happened", "What to do", "Raised in"), rows, (18, 32, 28, 22))
