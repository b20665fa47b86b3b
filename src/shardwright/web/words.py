"""How the page writes numbers, times and states: for people, in few characters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from shardwright.dsn import redact

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_THIN = "\N{NARROW NO-BREAK SPACE}"
_DASH = "\N{EN DASH}"
_COMMAND = re.compile(r"shardwright |pip |python3? |export |psql |pg_|ls |[A-Z]{3,} ")


def count(number: float | None) -> str:
    """`1 234 567`, in groups of three; a dash where it is not known."""
    return _DASH if number is None else f"{number:,.0f}".replace(",", _THIN)


def short(number: float | None) -> str:
    """`1.2 k`, `34 M`: three figures at most."""
    if number is None:
        return _DASH
    for unit in ("", "k", "M", "G", "T"):
        if abs(number) < 999.5 or unit == "T":
            break
        number /= 1000
    if not unit:
        return f"{number:.0f}" if number == round(number) or number >= 10 else f"{number:.1f}"
    return f"{_three(number)}{_THIN}{unit}"


def size(number: float | None) -> str:
    """Bytes: `12.3 MB`."""
    if number is None:
        return _DASH
    value, power = float(number), 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{_three(value) if power else f'{value:.0f}'}{_THIN}{_UNITS[power]}"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


def span(seconds: float | None) -> str:
    """`0.4 ms`, `12 ms`, `3.2 s`, `12 min`, `1.5 h`, `3 d`."""
    if seconds is None:
        return _DASH
    for most, factor, unit in ((0.9995, 1000, "ms"), (99.5, 1, "s"), (5970, 1 / 60, "min"), (172_000, 1 / 3600, "h")):
        if seconds < most:
            value = seconds * factor
            return f"{value:.1f}{_THIN}{unit}" if value < 9.95 and unit != "min" else f"{value:.0f}{_THIN}{unit}"
    return f"{seconds / 86400:.0f}{_THIN}d"


def share(part: float | None) -> str:
    """`61 %`; one figure more above 99, where it matters."""
    if part is None:
        return _DASH
    return f"{part * 100:.1f}{_THIN}%" if 0.99 < part < 1 else f"{part * 100:.0f}{_THIN}%"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """A `<time>`: `3 min ago`, `in 2 h`; the moment itself when pointed at."""
    if moment is None:
        return _DASH
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    told = f"{span(max(seconds, 0.0) // 1)} ago" if seconds >= 1 else "now" if seconds > -1 else f"in {span(-seconds)}"
    return Markup('<time datetime="{0}" title="{1}">{2}</time>').format(moment.isoformat(), full(moment), told)


def moment(at: datetime | None) -> str:
    """A `<time>`: the day and the second."""
    if at is None:
        return _DASH
    return Markup('<time datetime="{0}">{1}</time>').format(at.isoformat(), full(at))


def full(at: datetime) -> str:
    """`2026-11-23 03:22:23 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def counted(number: int, noun: str) -> str:
    """`1 shard`, `2 shards`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def joined(names: tuple[str, ...] | list[str], most: int = 6) -> str:
    """The names, with `and 80 more` for those beyond a few."""
    more = f" and {count(len(names) - most)} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def progress(told: Mapping[str, Any]) -> str:
    """`copy: 1 200 of 9 000 rows`."""
    of = f" of {count(told['total'])}" if told.get("total") is not None else ""
    return f"{told['phase']}: {count(told['done'])}{of} {told['unit']}"


def cure(text: str) -> Markup:
    """What helps: a command, or SQL, stands out from the words behind it."""
    text = redact(text)
    if _COMMAND.match(text) is None:
        return escape(text)
    command, gap, words = text.partition("   ")
    return Markup("<code>{0}</code>{1}{2}").format(command, " " if gap else "", words.strip())


def without_secrets(value: Any) -> Any:
    """What a template writes: a password that came with an error of somebody's library is masked."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else redact(value)


FILTERS = {
    "count": count,
    "short": short,
    "size": size,
    "span": span,
    "share": share,
    "ago": ago,
    "moment": moment,
    "counted": counted,
    "joined": joined,
    "progress": progress,
    "cure": cure,
}
