# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is closed at the end of a ``with`` block, however that ends."""

from __future__ import annotations

import types
import typing as t

_Self = t.TypeVar("_Self", bound="Closing")


class Closing:
    """A thing with a ``close``, as a context manager of itself."""

    def close(self) -> None:
        """Let go of it."""
        raise NotImplementedError

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: t.Optional[type[BaseException]],
        error: t.Optional[BaseException],
        trace: t.Optional[types.TracebackType],
    ) -> None:
        self.close()
