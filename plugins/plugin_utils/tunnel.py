# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way between the two hosts of a migration: unix sockets, joined by the controller's own ssh connections.

On each host they are in a folder that only the user who connects may enter. No port is opened, and neither host has to
reach the other one, or to know its keys.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import typing as t

from ansible.errors import AnsibleError

#: The names of the sockets, as the runners know them: see ``runner/migration_link.py``.
SOCKETS = ("runner", "disks")
WATCH = "watch"
# How long an ssh may take to log in and to join the sockets, in seconds.
_LOGIN = 120.0
_READY = b"maqet-ready\n"
_PR_SET_PDEATHSIG = 1
# On every host; mktemp(1) makes it, so that it is new. A socket's path must be short.
_FOLDER = "/tmp/maqet-"  # noqa: S108

Tell = t.Callable[[str], None]


class End:
    """One host: what can be done there as the user who connects. ``action`` is an action plugin for it."""

    def __init__(self, action: t.Any, name: str) -> None:
        self._action = action
        self._connection = action._connection
        self.name = name
        self.kind = str(self._connection.transport)
        if self.kind not in ("ssh", "local"):
            raise AnsibleError(
                f"{name}: a migration needs a connection of the kind ssh or local, and that of {name} is {self.kind}."
            )

    @property
    def local(self) -> bool:
        """Whether it is this machine."""
        return self.kind == "local"

    def folder(self) -> str:
        """A new folder there that nobody else may enter."""
        done = self._run(f"umask 77 && mktemp -d {_FOLDER}XXXXXXXXXX")
        lines = [line for line in done["stdout"].splitlines() if line.startswith(_FOLDER)]
        if done["rc"] != 0 or not lines:
            raise AnsibleError(f"{self.name}: no folder for sockets can be made: {done['stderr'] or done['stdout']}")
        return str(lines[-1].strip())

    def remove(self, folder: str) -> None:
        """That folder, and the sockets in it."""
        with contextlib.suppress(Exception):  # a host that is gone: so is what is in its /tmp, some day
            self._run(f"rm -rf {shlex.quote(folder)}")

    def _run(self, command: str) -> t.Dict[str, t.Any]:
        return dict(self._action._low_level_execute_command(command, sudoable=False))

    def ssh(self, forwards: t.Sequence[str]) -> subprocess.Popen[bytes]:
        """An ssh there that joins sockets until its stdin is closed, or we are gone; it says :data:`_READY` first."""
        plugin = self._connection
        plugin._connect()
        program = plugin.get_option("ssh_executable")
        own = ["ControlMaster=no", "ControlPath=none", "ExitOnForwardFailure=yes", "StreamLocalBindMask=0177"]
        own += ["StreamLocalBindUnlink=yes", "ServerAliveInterval=15", "ServerAliveCountMax=4", "RequestTTY=no"]
        words = [word for option in own for word in ("-o", option)] + list(forwards)
        host = plugin.get_option("host") or plugin._play_context.remote_addr
        built = plugin._build_command(program, "ssh", host, f"echo {_READY.decode().strip()}; exec cat >/dev/null")
        at = built.index(os.fsencode(program)) + 1  # what stands first counts, and sshpass may stand before
        argv = [*built[:at], *map(os.fsencode, words), *built[at:]]
        options: t.Dict[str, t.Any] = plugin._init_shm() if hasattr(plugin, "_init_shm") else {}
        options.pop("start_new_session", None)
        pipe = getattr(plugin, "sshpass_pipe", None)
        if pipe:
            options["pass_fds"] = pipe
        libc = ctypes.CDLL(None)

        def with_us() -> None:
            if hasattr(libc, "prctl"):  # on Linux
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=with_us,  # noqa: PLW1509  # no thread of ours has begun yet
            **options,
        )
        if pipe:
            os.close(pipe[0])
            os.write(pipe[1], os.fsencode(str(plugin.get_option("password") or plugin._play_context.password)) + b"\n")
            os.close(pipe[1])
            plugin.sshpass_pipe = None
        return process


class Tunnel(t.ContextManager[t.Mapping[str, t.Any]]):
    """A context, as ``migration.Tunnel`` says. ``tell`` hears how far the sender is."""

    def __init__(self, here: End, there: End, tell: Tell) -> None:
        self._here = here
        self._there = there
        self._tell = tell
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> t.Mapping[str, t.Any]:
        with contextlib.ExitStack() as stack:
            ways = self._open(stack)
            self._stack = stack.pop_all()
        return ways

    def __exit__(self, *_error: t.Any) -> None:
        self._stack.close()

    def _open(self, stack: contextlib.ExitStack) -> t.Mapping[str, t.Any]:
        there = self._there.folder()
        stack.callback(self._there.remove, there)
        own = tempfile.mkdtemp(prefix="maqet-")  # on the controller
        stack.callback(shutil.rmtree, own, True)
        here = there if self._here.local and self._there.local else self._here.folder()
        if here is not there:
            stack.callback(self._here.remove, here)
        watch = Watch(os.path.join(own, WATCH), self._tell)
        stack.callback(watch.close)
        for end, forwards in self._forwards(here, there, own):
            stack.callback(_end, _ready(end, end.ssh(forwards)))
        watch.start()  # after the processes, which are forked
        return {"here": here, "there": there, "watch": watch.path if self._here.local else os.path.join(here, WATCH)}

    def _forwards(self, here: str, there: str, own: str) -> t.Iterator[t.Tuple[End, t.List[str]]]:
        """What each ssh is to join: ``-L OURS:THEIRS`` or ``-R THEIRS:OURS``."""
        middle = there if self._there.local else here if self._here.local else own
        if not self._there.local:
            yield self._there, [word for name in SOCKETS for word in ("-L", f"{middle}/{name}:{there}/{name}")]
        if not self._here.local:
            pairs = [(f"{here}/{name}", f"{middle}/{name}") for name in SOCKETS]
            pairs.append((f"{here}/{WATCH}", f"{own}/{WATCH}"))
            yield self._here, [word for theirs, ours in pairs for word in ("-R", f"{theirs}:{ours}")]


def _ready(end: End, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Wait until its sockets are joined."""
    stdout = t.cast("t.IO[bytes]", process.stdout)
    said = b""
    while _READY not in said:
        readable = select.select([stdout], [], [], _LOGIN)[0]
        more = os.read(stdout.fileno(), 4096) if readable else b""
        if not more:
            process.kill()
            words = process.communicate()[1].decode("utf-8", "replace").strip()
            raise AnsibleError(
                f"{end.name}: ssh did not join the sockets for the migration: {words or 'no answer'}. Its sshd must "
                "allow that (AllowStreamLocalForwarding, DisableForwarding in sshd_config)."
            )
        said += more
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.communicate()


class Watch:
    """Hears on the controller how far the sender is, a line at a time."""

    def __init__(self, path: str, tell: Tell) -> None:
        self.path = path
        self._tell = tell
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(path)
        self._listening.listen()
        self._thread = threading.Thread(target=self._hear, daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Hear no more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which wakes a thread that waits for a caller
        if self._thread.is_alive():
            self._thread.join(5)
        self._listening.close()

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, _address = self._listening.accept()
                with connected, connected.makefile("r", encoding="utf-8", errors="replace") as lines:
                    for line in lines:
                        self._tell(line.rstrip("\n")[:500])
