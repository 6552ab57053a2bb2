# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind the door ``task``: the argument spec's common pieces, results, and the error boundary."""

from __future__ import annotations

import os
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, as_maqet
from ansible_collections.maqet.qemu.plugins.module_utils.guard.nearest import suggestion
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import masked

# Filled in by our action plugin: who runs which task from where. Asserted by the controller, recorded as such.
CONTEXT = "_context"
HIDDEN: dict[str, t.Any] = {CONTEXT: {"type": "dict"}}


class _Module(AnsibleModule):  # type: ignore[misc]
    """Ansible's module, which is silent about options that it refuses itself."""

    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn:
        """Fail without repeating the options unless told to: a misspelt one may hold a password that no spec knows.

        What Ansible itself refuses, before any of ours is called, are the options.
        """
        ours = {"invocation": {"module_args": {}}, "error_code": "invalid_option"}
        super().fail_json(meant(msg) + msg, **{**ours, **kwargs})
        raise AssertionError("fail_json returned")


_UNSUPPORTED = r"Unsupported parameters for \(.*?\) module: (.*?)\. Supported parameters include: (.*)\."


def meant(refusal: str) -> str:
    """Which options the unsupported ones in Ansible's ``refusal`` were probably meant to be; empty if none is near."""
    found = re.fullmatch(_UNSUPPORTED, refusal)
    if found is None:
        return ""
    known = [name.partition(" ")[0] for name in found[2].split(", ")]  # an alias stands in brackets
    hints = [(word, suggestion(word.rpartition(".")[2], known)) for word in found[1].split(", ")]
    return "".join(f"{word}: there is no such option{hint} " for word, hint in hints if hint)


class Task:
    """One run of a module."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self.params: dict[str, t.Any] = module.params
        self.check: bool = module.check_mode

    @property
    def context(self) -> dict[str, t.Any]:
        """What the audit records as the controller's word: host, user, task, play, and where ssh came from."""
        context = dict(self.params.get(CONTEXT) or {})
        context["module"] = getattr(self._module, "_name", None)
        job = getattr(self._module, "_target_log_info", None)
        if job:
            context["job"] = job
        if os.environ.get("SSH_CONNECTION"):
            context["address"] = os.environ["SSH_CONNECTION"].split()[0]
        return {key: value for key, value in context.items() if value}

    @property
    def who(self) -> str:
        """This task in a few words, for whoever waits for it."""
        context = self.context
        task = f" (task '{context['task']}')" if context.get("task") else ""
        return f"{context['module']}{task}"

    def conceal(self, shown: t.Mapping[str, t.Any], secrets: t.Iterable[str]) -> None:
        """Return options as ``shown`` and mask ``secrets`` wherever else they occur in the result.

        An option with ``no_log`` keeps its values out of syslog, but would also have Ansible mask every
        answer that contains one of them, however harmless: once we know better, that set is replaced.
        """
        self._hidden = frozenset(secret for secret in secrets if secret)
        self._module.no_log_values = set(self._hidden)
        self._shown = masked({**self.params, **shown}, self._hidden)

    def warn(self, text: str) -> None:
        """A warning that the user sees under the task."""
        self._module.warn(masked(text, self._hidden))

    def exit(self, result: t.Mapping[str, t.Any]) -> t.NoReturn:
        """The end of a task that did what it should."""
        self._module.exit_json(**self._masked(result), invocation=self._invocation())
        raise AssertionError("exit_json returned")

    def fail(self, error: MaqetError) -> t.NoReturn:
        """The end of a task that did not: the message, its stable word, and what had happened so far."""
        details = {"changed": False, **self._masked(error.details)}
        text = masked(str(error), self._hidden)
        self._module.fail_json(msg=text, error_code=error.error_code, invocation=self._invocation(), **details)
        raise AssertionError("fail_json returned")

    _shown: t.Optional[dict[str, t.Any]] = None
    _hidden: frozenset[str] = frozenset()

    def _masked(self, result: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Ansible masks whole secrets; quotations of them and pieces are for us to find."""
        return t.cast("dict[str, t.Any]", masked(dict(result), self._hidden) if self._hidden else dict(result))

    def _invocation(self) -> dict[str, t.Any]:
        shown = self.params if self._shown is None else self._shown
        return {"module_args": {key: value for key, value in shown.items() if not key.startswith("_")}}


def run(spec: t.Mapping[str, t.Any], body: t.Callable[[Task], t.Mapping[str, t.Any]], **rules: t.Any) -> None:
    """Run ``body`` as a module with ``spec``: every module's error boundary. ``rules`` are AnsibleModule's own."""
    os.umask(0o077)  # whatever the login's: what we make is nobody else's to read
    task = Task(_Module(argument_spec={**spec, **HIDDEN}, supports_check_mode=True, **rules))
    try:
        result = body(task)
    except (MaqetError, OSError) as error:
        task.fail(as_maqet(error))
    task.exit(result)


def typed(spec: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Options that stand inside of another one, as Ansible would have made them of ``spec`` for a module of their own.

    Raises ``invalid_option`` with what Ansible says of them. Values are not repeated: they may be secrets.
    """
    for option in params:
        if option not in spec:
            raise MaqetError(f"{option}: there is no such option{suggestion(option, spec)}", "invalid_option")
    checked = ArgumentSpecValidator(dict(spec)).validate(dict(params))
    if checked.error_messages:
        raise MaqetError(", ".join(checked.error_messages), "invalid_option")
    return dict(checked.validated_parameters)
