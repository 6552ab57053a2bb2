# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runner without QEMU, for tests of what systemd does to runners. Run on a test host, standard library only.

It keeps a child that is to outlive it, and tells of itself in a fifo, one JSON object a line. The word in the file
``behaviour`` in its VM's folder says what it does wrong:

``fail``  says why and ends before it is ready; ``hang`` is never ready; ``mute`` does not ping the watchdog;
``slow``  needs five seconds to stop, and says so; ``deaf`` does not hear that it is to stop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

EVENTS = "/opt/maqet/events"
_SLOW_SECONDS = 5


def notify(words: str) -> None:
    """sd_notify(3)."""
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
        speaker.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        speaker.send(words.encode())


def tell(event: str, **facts: t.Any) -> None:
    """One line for the test, which holds the fifo open."""
    line = json.dumps({"event": event, "pid": os.getpid(), "time": time.monotonic(), **facts})
    with open(EVENTS, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def adopt(note: Path) -> int:
    """The child of an earlier runner that still lives, else a new one."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(note.read_text("utf-8"))
        if b"infinity" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    # Blocked signals are inherited.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    child = subprocess.Popen(["sleep", "infinity"], start_new_session=True, stdin=subprocess.DEVNULL)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGPWR))
    note.write_text(str(child.pid), "utf-8")
    return child.pid


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("vm", "state", "run", "log", "scope", "config"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGPWR))
    home = Path(options.state, "vms", options.vm)
    behaviour = (home / "behaviour").read_text("utf-8").strip() if (home / "behaviour").exists() else ""
    if behaviour == "fail":
        sys.stderr.write("the stand-in was told to fail\n")
        return 1
    child = adopt(home / "child")
    if behaviour != "hang":
        notify("READY=1")
        tell("ready", vm=options.vm, child=child, options=vars(options))
    return serve(behaviour, options.vm, child)


def serve(behaviour: str, name: str, child: int) -> int:
    """Until systemd wants it to leave (TERM) or to stop (PWR)."""
    pause = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6 or 3600.0
    while True:
        heard = signal.sigtimedwait((signal.SIGTERM, signal.SIGPWR), pause)
        if heard is None:
            if behaviour != "mute":
                notify("WATCHDOG=1")
        elif heard.si_signo == signal.SIGTERM:
            tell("leaves", vm=name)
            return 0
        elif behaviour != "deaf":
            tell("stops", vm=name)
            if behaviour == "slow":
                notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={(_SLOW_SECONDS + 5) * 1000000}")
                time.sleep(_SLOW_SECONDS)
            os.kill(child, signal.SIGKILL)
            tell("stopped", vm=name)
            return 0


if __name__ == "__main__":
    sys.exit(main())
