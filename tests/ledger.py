"""What writers were told, and what is there: each acknowledged write once, and nothing that nobody has written."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

Key = tuple[str, str]
State = Mapping[Key, int | None]


class Ledger:
    """What each row may be, None for gone: one value, or several where nobody has heard the answer to a COMMIT."""

    def __init__(self) -> None:
        self.rows: dict[Key, set[int | None]] = {}
        self.acknowledged = 0
        self._lock = threading.Lock()

    def write(self, effects: State) -> None:
        """A transaction with these effects was acknowledged."""
        with self._lock:
            self.acknowledged += 1
            self.rows |= {key: {value} for key, value in effects.items()}

    def doubt(self, effects: State) -> None:
        """Nobody knows whether it was committed."""
        with self._lock:
            for key, value in effects.items():
                self.rows[key] = self.rows.get(key, {None}) | {value}


def differences(expected: Mapping[Key, set[int | None]], found: Mapping[Key, Sequence[int]]) -> list[str]:
    """What is not as it was to be."""
    wrong = []
    for key, allowed in expected.items():
        present = found.get(key, ())
        if len(present) > 1:
            wrong.append(f"{key} is there {len(present)} times")
        elif (present[0] if present else None) not in allowed:
            wrong.append(f"{key} is {present}, and was to be one of {allowed}")
    return wrong + [f"{key} is there, and nobody has written it" for key in found if key not in expected]
