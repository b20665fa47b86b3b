"""stdout and stderr as a command needs them: what they can't take does not stop it."""

from __future__ import annotations

import contextlib
import os
from typing import Any

# What a terminal shows that knows only ASCII; a rollout must not end over a tick.
_PLAIN = str.maketrans({"✓": "+", "✗": "x", "↩": "<", "→": ">", "·": "-", "…": "..."})
# A table's name may hold what a terminal obeys; only line ends and tabs are ours.
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")


def printable(text: str) -> str:
    """`text` without characters that a terminal would obey instead of show."""
    return text.translate(_CONTROLS)


class Stream:
    """A text stream whose reader may leave (`| head`, a closed terminal) and whose encoding may be poor."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Shows `text` as well as can be; a reader who has left is not missed."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.translate(_PLAIN).encode(encoding, "replace").decode(encoding))
        except OSError:
            self.silence()
        return len(text)

    def flush(self) -> None:
        """What was written is out."""
        try:
            self._stream.flush()
        except OSError:
            self.silence()

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        """The descriptor beneath."""
        return int(self._stream.fileno())

    @property
    def encoding(self) -> str:
        """How its characters are encoded."""
        return str(self._stream.encoding or "ascii")

    def silence(self) -> None:
        """From here on everything goes nowhere: also what Python itself flushes at the end."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
