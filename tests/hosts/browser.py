# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, spoken to over two pipes in its DevTools protocol: it shows a file, and tells what went on.

Source: https://chromedevtools.github.io/devtools-protocol/ and Chromium's ``--remote-debugging-pipe``: JSON messages
that end with a NUL, read from descriptor 3 and written to descriptor 4.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "headless_shell", "google-chrome")

# Events that say that a page is not well.
_COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Audits.issueAdded")

# Puts the pipes where the browser looks for them, and becomes the browser.
_PLACE = """
import os, sys
for place, fd in enumerate(sys.argv[1:3], 3):
    os.dup2(int(fd), place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def program() -> str | None:
    """The browser of this machine, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One page in a browser of its own. ``complaints``: what it wrote to its console; ``requests``: what it fetched."""

    def __init__(self, commands: int, answers: int, seconds: float) -> None:
        self._commands, self._answers = commands, answers
        self._deadline = time.monotonic() + seconds
        self._buffer = b""
        self._last = 0
        self._session: str | None = None
        self._past: list[str] = []
        self.complaints: list[t.Any] = []
        self.requests: list[str] = []

    def attach(self) -> None:
        """Take the browser's first page over."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page", "Audits"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: t.Any) -> t.Any:
        """One command, and its answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url: str) -> None:
        """Show a page, and return when it has loaded."""
        self.ask("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._past:
            self._next()

    def value(self, expression: str) -> t.Any:
        """What a JavaScript expression is in this page. The page's own policy does not matter to it."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, path: Path, **clip: float) -> None:
        """The whole page as PNG, or the part that ``x``, ``y``, ``width`` and ``height`` name."""
        more = {"clip": {**clip, "scale": 1}} if clip else {}
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True, **more)["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self) -> dict[str, t.Any]:
        while b"\0" not in self._buffer:
            ready, _w, _x = select.select([self._answers], [], [], max(0.0, self._deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._answers, 1 << 16)
            assert data, "the browser is gone"
            self._buffer += data
        text, _nul, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, t.Any] = json.loads(text)
        method = message.get("method", "")
        self._past.append(method)
        if method in _COMPLAINTS:
            self.complaints.append(message["params"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message


@contextlib.contextmanager
def page(browser: str, scripts: bool = True, seconds: float = 120.0) -> t.Iterator[Page]:
    """A new page; the browser ends with the block. AssertionError when it takes longer than ``seconds`` altogether."""
    # Processes of the browser write into its folder for a moment after it has ended.
    folder = tempfile.TemporaryDirectory(prefix="maqet-browser-", ignore_cleanup_errors=True)
    with folder as home, contextlib.ExitStack() as stack:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (theirs_in, theirs_out)]
        for fd in (theirs_in, theirs_out):
            os.close(fd)
        for fd in (ours_in, ours_out):
            stack.callback(os.close, fd)

        words = [browser, "--headless", "--remote-debugging-pipe", f"--user-data-dir={home}", "--disable-gpu"]
        words += [
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
        ]
        words += ["--no-sandbox"] if os.getuid() == 0 else []  # its sandbox refuses root
        process = subprocess.Popen(
            [sys.executable, "-c", _PLACE, *map(str, high), *words, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": home},
            pass_fds=high,
        )
        for fd in high:
            os.close(fd)
        try:
            shown = Page(ours_out, ours_in, seconds)
            shown.attach()
            if not scripts:
                shown.ask("Emulation.setScriptExecutionDisabled", value=True)
            yield shown
        finally:
            process.kill()
            process.wait()
