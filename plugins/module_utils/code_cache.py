# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled code of our modules, kept on the host from one task to the next.

Ansible sends a module and all that it imports as a zip archive of sources. Python's zipimport compiles each of them
twice, once to find its file name and once to run it, and does so in every task: most of what a task of ours would
cost. From here on the imports from that archive look into a file first, ``STATE/cache/code/MODULE.PYTHON``.

What runs is what was sent: code is taken only for a source with the hash of the one in the archive. The file is read
only if it belongs to who runs the task and nobody else may write to it. So it is trusted as far as Python's own
``.pyc`` files are (PEP 552), and no further. Whoever removes it loses a fraction of a second, once. A host without
our state folder keeps none.

``task`` imports this before everything else.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import marshal
import os
import pkgutil
import stat
import sys
import typing as t
import zipimport
import zlib
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER, spec_from_loader
from types import CodeType, ModuleType

_OURS = ("ansible_collections.maqet.qemu.", "ansible.module_utils.")
# The file is a checksum of the rest, and the rest is what marshal makes of this: source's hash and code by module name.
_Kept = t.Dict[str, t.Tuple[bytes, bytes]]
_CHECKSUM = 4


def state_folder() -> str:
    """The folder in which we keep what outlives a task: the system's for root, else the user's (XDG 0.8).

    As ``host/paths.py`` says it, which would have to be compiled for this in every task; a test compares the two.
    """
    if os.geteuid() == 0:
        return "/var/lib/maqet"
    return os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "maqet")


class CodeCache:
    """One file of compiled code. Never raises for what is wrong with the file: then there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._kept = _read(path)
        self._new: _Kept = {}

    def code(self, name: str, source: bytes) -> CodeType:
        """The code of module ``name``; SyntaxError as compile() raises it."""
        digest = hashlib.sha256(source).digest()
        known = self._kept.get(name)
        if known and known[0] == digest:
            return t.cast(CodeType, marshal.loads(known[1]))
        made = compile(source, f"/{name.replace('.', '/')}.py", "exec", dont_inherit=True)
        self._new[name] = (digest, marshal.dumps(made))
        return made

    def save(self) -> None:
        """Keep what was compiled. Tasks that end at the same time replace each other's file by one as good."""
        if self._new:
            from ansible_collections.maqet.qemu.plugins.module_utils.host import files

            content = marshal.dumps({**self._kept, **self._new})
            with contextlib.suppress(OSError):
                files.make_folder(os.path.dirname(self._path))
                files.write_atomic(self._path, _checksum(content) + content, durable=False)


def _read(path: str) -> _Kept:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
                return {}
            checksum, content = file.read(_CHECKSUM), file.read()
    except OSError:
        return {}
    # Written without a wait for the disk, so a power cut may have left it in pieces; marshal must not see those.
    return t.cast(_Kept, marshal.loads(content)) if _checksum(content) == checksum else {}


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM, "big")


#: From an archive, the path of a source in it, and the module's name: its code.
_Code = t.Callable[[zipimport.zipimporter, str, str], CodeType]


class _Loader:
    """A zipimporter whose code comes from elsewhere."""

    def __init__(self, archive: zipimport.zipimporter, filename: str, code: _Code) -> None:
        self._archive, self._filename, self._code = archive, filename, code

    def create_module(self, spec: ModuleSpec) -> None:
        """The module itself is an ordinary one."""

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102  # pylint: disable=exec-used  # what an import is

    def get_code(self, name: str) -> CodeType:
        return self._code(self._archive, self._filename, name)

    def get_filename(self, name: str) -> str:
        """A zipimporter would compile the source to tell its name, at every import once more than needed."""
        return self._filename

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._archive, name)


class _Finder:
    """Finds modules in the archives among the path's entries, and leaves all others to those behind it."""

    def __init__(self, code: _Code) -> None:
        self._code = code

    def find_spec(self, name: str, path: t.Optional[t.Sequence[str]], target: t.Any = None) -> t.Optional[ModuleSpec]:
        if path and name.startswith(_OURS):
            for entry in path:
                archive: t.Any = pkgutil.get_importer(entry)
                if isinstance(archive, zipimport.zipimporter):
                    with contextlib.suppress(zipimport.ZipImportError):
                        return self._spec(archive, name)
        return None

    def _spec(self, archive: zipimport.zipimporter, name: str) -> t.Optional[ModuleSpec]:
        whole = archive.is_package(name)  # ZipImportError where there is no such module
        parts = [archive.archive, archive.prefix, name.rpartition(".")[2], *(["__init__"] if whole else [])]
        loader = _Loader(archive, f"{os.path.join(*parts)}.py", self._code)
        return spec_from_loader(name, t.cast(t.Any, loader), is_package=whole)


def use_compiled() -> None:
    """From now on, in a process whose archives have compiled code beside the sources, import that once, not twice."""

    def code(archive: zipimport.zipimporter, filename: str, _name: str) -> CodeType:
        data = archive.get_data(f"{filename}c")  # a header of 16 bytes, and what marshal has made (PEP 552)
        if data[:4] != MAGIC_NUMBER:
            return compile(archive.get_data(filename), filename, "exec", dont_inherit=True)
        return t.cast(CodeType, marshal.loads(data[16:]))

    sys.meta_path.insert(0, t.cast(t.Any, _Finder(code)))


def _use() -> None:
    """From now on, in the process of a module that came as an archive."""
    state, pid = state_folder(), os.getpid()
    sent: t.Any = getattr(sys.modules["__main__"], "__spec__", None)
    name = "" if sent is None else sent.name
    if not _is_archive(globals().get("__loader__")) or not name.startswith(_OURS) or not os.path.isdir(state):
        return
    module = name.rpartition(".")[2]
    cache = CodeCache(os.path.join(state, "cache", "code", f"{module}.{sys.implementation.cache_tag}"))

    def save() -> None:
        if os.getpid() == pid:  # not at the end of a fork
            cache.save()

    atexit.register(save)

    def code(archive: zipimport.zipimporter, filename: str, name: str) -> CodeType:
        return cache.code(name, archive.get_data(filename))

    sys.meta_path.insert(0, t.cast(t.Any, _Finder(code)))


def _is_archive(loader: t.Any) -> bool:
    return isinstance(loader, zipimport.zipimporter)


_use()
