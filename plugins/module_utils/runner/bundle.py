# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner as one file: the sources that the module carries, as a zipapp named by their content.

Ansible ships only what a static scan of a module's imports finds, hence :func:`_carried`. Its archive is
no source to copy (its dates and helpers differ from run to run), so each source is asked of its loader.

Beside each source lies what our Python compiles it to. A runner of the same Python starts in a third of the time,
which a VM whose runner was killed is without one; another Python takes the sources.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import marshal
import os
import sys
import typing as t
import zipfile

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files

_PREFIX = "ansible_collections.maqet.qemu.plugins.module_utils."
# Everything that runner.daemon reaches; a test compares this list with its imports.
SOURCES = (
    "code_cache",
    "definition.defaults", "definition.firmware", "definition.names", "definition.network_types",
    "definition.networks", "definition.render", "definition.render_board", "definition.render_console",
    "definition.render_devices", "definition.render_disks", "definition.render_firmware",
    "definition.render_networks", "definition.render_ports", "definition.render_seed", "definition.seed",
    "definition.sizes", "definition.spelling", "definition.stored", "definition.values",
    "errors",
    "guard.addresses", "guard.agent", "guard.agent_commands", "guard.caller", "guard.canonical", "guard.case",
    "guard.chain", "guard.commands", "guard.conditions", "guard.devices", "guard.entry", "guard.gate", "guard.hmp",
    "guard.images", "guard.journal", "guard.judge", "guard.leaves", "guard.log", "guard.mismatch", "guard.moment",
    "guard.names", "guard.nearest", "guard.opener", "guard.orphans", "guard.passing", "guard.paths",
    "guard.policy", "guard.policy_check", "guard.policy_file", "guard.policy_schema", "guard.preliminary",
    "guard.record", "guard.redact", "guard.redact_rules", "guard.redact_words", "guard.roles", "guard.rules",
    "guard.rules_block", "guard.rules_files", "guard.rules_flags", "guard.rules_net", "guard.rules_values",
    "guard.schema", "guard.scope", "guard.segments", "guard.sweep", "guard.verdict", "guard.walk", "guard.witness",
    "host.accel", "host.chain", "host.commands", "host.emulators", "host.files", "host.firmware", "host.hardware",
    "host.helpers", "host.hostkey", "host.identity", "host.iso", "host.links", "host.locks", "host.migration",
    "host.misled", "host.netlink", "host.paths", "host.processes", "host.qemu", "host.schema_cache", "host.status",
    "host.tpm", "host.yaml_reader", "host.yaml_strict",
    "qmp.addresses", "qmp.ending", "qmp.events", "qmp.exits", "qmp.handover", "qmp.hold", "qmp.host_policy",
    "qmp.protocol", "qmp.refusal",
    "runner.adoption", "runner.agent", "runner.batch", "runner.bounds", "runner.cables", "runner.client",
    "runner.daemon", "runner.desk", "runner.door", "runner.emulator", "runner.errand", "runner.frozen",
    "runner.guest", "runner.hardware", "runner.helpers", "runner.keeper", "runner.libraries", "runner.migration",
    "runner.migration_link", "runner.migration_own", "runner.migration_receive", "runner.migration_send",
    "runner.networks", "runner.nursery", "runner.nvram", "runner.opened", "runner.premises", "runner.remains",
    "runner.reply", "runner.report", "runner.restarts", "runner.server", "runner.service", "runner.session",
    "runner.spawn", "runner.tpm",
)  # fmt: skip
# Without the collector, which finds nothing while modules are imported and would look twenty times; and at the end
# without taking Python apart, for which whoever stops a VM would wait.
_MAIN = f"""import gc
import os

gc.disable()
from {_PREFIX}code_cache import use_compiled
use_compiled()
from {_PREFIX}runner.daemon import main
gc.enable()
os._exit(main())
"""
# Zip archives know no time before 1980; a fixed one makes equal sources equal archives.
_DATE = (1980, 1, 1, 0, 0, 0)


def _carried() -> None:
    """Never called: these imports make Ansible ship the runner with each module that can start one."""
    # pylint: disable=unused-import,import-outside-toplevel
    from ansible_collections.maqet.qemu.plugins.module_utils import code_cache  # noqa: F401
    from ansible_collections.maqet.qemu.plugins.module_utils.runner import daemon  # noqa: F401


def sources() -> dict[str, str]:
    """The runner's sources by module name, from a source tree and from a module's payload alike."""
    return {name: _source(_PREFIX + name) for name in SOURCES}


def digest(texts: t.Mapping[str, str]) -> str:
    """A name for exactly these sources."""
    whole = hashlib.sha256()
    for name, text in sorted(texts.items()):
        for part in (name.encode(), text.encode()):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def own_digest() -> str:
    """The digest of the runner that we carry. Reading its sources takes some 20 ms, so once is enough."""
    return digest({**sources(), "__main__": _MAIN})


def install(folder: str) -> tuple[str, str]:
    """The path and digest of the runner's archive in ``folder``, written if it is not there yet."""
    name = own_digest()
    path = os.path.join(folder, f"runner-{name}.{sys.implementation.cache_tag}.pyz")
    if not os.path.exists(path):
        files.make_folder(folder)
        files.write_atomic(path, archive(sources()), 0o644)
    return path, name


def archive(texts: t.Mapping[str, str]) -> bytes:
    """A zipapp of the sources; the same bytes for the same sources and the same Python."""
    plain = {f"{(_PREFIX + name).replace('.', '/')}.py": text for name, text in texts.items()}
    packages = {path.rpartition("/")[0] for path in plain}
    while packages:  # every folder up to the root is a package, for zipimport before Python 3.12 as well
        plain.update({f"{package}/__init__.py": "" for package in packages})
        packages = {package.rpartition("/")[0] for package in packages} - {""}
    plain["__main__.py"] = _MAIN
    data = {path: text.encode() for path, text in plain.items()}
    data.update({f"{path}c": _compiled(path, text) for path, text in plain.items()})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for path, content in sorted(data.items()):
            entry = zipfile.ZipInfo(path, _DATE)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, content)
    return buffer.getvalue()


def _compiled(path: str, text: str) -> bytes:
    """The content of a .pyc file that is not compared with its source, which lies beside it (PEP 552, "unchecked")."""
    source = text.encode()
    code = marshal.dumps(compile(source, path, "exec", dont_inherit=True))
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source) + code


def _source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    text = spec.loader.get_source(name) if spec and spec.loader and hasattr(spec.loader, "get_source") else None
    if text is None:
        raise MaqetError(f"The module came without {name}, a part of the runner.", "runner_failed")
    return str(text)
