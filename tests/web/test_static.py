"""What is served as it lies there: nothing of it leads to another host, and what is not ours is what we say it is."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest

from shardwright.web import words
from shardwright.web.plots import plot, rates
from shardwright.web.site import HERE

VENDOR = HERE / "static" / "vendor"
OURS = [*HERE.glob("templates/*"), *HERE.glob("static/*.*")]
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_what_is_not_ours_is_as_its_makers_have_it() -> None:
    """The page beside it has version, licence and hash of each file."""
    page = (VENDOR / "README.md").read_text()
    known = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", page, re.MULTILINE))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.js")}
    assert {name: digest for digest, name in known.items()} == files
    assert "0BSD" in page
    assert "Zero-Clause BSD" in (VENDOR / "LICENSE-htmx").read_text()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_leads_to_another_host(path: object) -> None:
    """No font, no script, no picture from elsewhere; and nothing that our own policy would stop."""
    text = path.read_text()  # type: ignore[attr-defined]
    assert not re.search(
        r"(?<!xmlns=\")(?:https?:)?//(?!www\.w3\.org)[a-z]", re.sub(r"^\s*(//|/\*).*$", "", text, flags=re.MULTILINE)
    )
    assert "style=" not in text
    assert "|safe" not in text


@pytest.mark.parametrize(("seconds", "told"), [
    (0.00004, "0.0 ms"), (0.0004, "0.4 ms"), (0.0123, "12 ms"), (0.9994, "999 ms"), (3.21, "3.2 s"), (61, "61 s"),
    (180, "3 min"), (5000, "83 min"), (7200, "2.0 h"), (86_400, "24 h"), (864_000, "10 d"), (None, "–"),
])  # fmt: skip
def test_times_are_told_in_few_characters(seconds: float | None, told: str) -> None:
    """With a space that does not break."""
    assert words.span(seconds).replace("\N{NARROW NO-BREAK SPACE}", " ") == told


@pytest.mark.parametrize(("number", "short", "size"), [
    (0, "0", "0 B"), (0.4, "0.4", "0 B"), (999, "999", "999 B"), (999.6, "1.0 k", "1.0 kB"),
    (12_345, "12.3 k", "12.3 kB"),
    (999_999, "1.0 M", "1.0 MB"), (8.3e7, "83.0 M", "83.0 MB"), (5e11, "500 G", "500 GB"), (None, "–", "–"),
])  # fmt: skip
def test_numbers_are_told_in_few_characters(number: float | None, short: str, size: str) -> None:
    """Three figures at most, and never `1000 k`."""
    thin = "\N{NARROW NO-BREAK SPACE}"
    assert words.short(number).replace(thin, " ") == short
    assert words.size(number).replace(thin, " ") == size


def moments(*values: float | None) -> list[tuple[datetime, float | None]]:
    return [(NOON + timedelta(seconds=10 * place), value) for place, value in enumerate(values)]


def test_a_gap_is_no_line() -> None:
    """Where nothing is known, nothing is drawn; a lone point is still seen."""
    found = plot("x", moments(1, 2, None, 3, None, 2, 1))
    assert found is not None
    assert found.line.count("M") == 3
    assert plot("x", moments(None, 3, None)) is None


def test_a_scale_is_round_and_holds_all() -> None:
    """The highest point is within it; a line at nought is no division by nought."""
    found = plot("x", moments(0, 0, 0))
    assert found is not None
    assert "100.0" in found.line
    for highest in (1, 9.9, 10, 1234, 0.0003):
        found = plot("x", moments(0, highest))
        assert found is not None
        lowest = min(float(y) for y in re.findall(r" ([\d.-]+)", found.line))
        assert 0 <= lowest < 60


def test_rates_never_fall_below_nought() -> None:
    """What begins anew, after a takeover say, has no negative speed; equal moments no infinite one."""
    points = [(at, float(value or 0)) for at, value in moments(0, 100, 200, 50, 150)]
    assert [value for _, value in rates(points)] == [10, 10, 0, 10]
    assert rates([(NOON, 1.0), (NOON, 2.0)]) == []
    assert len(rates([(NOON + timedelta(seconds=n), float(n)) for n in range(1000)])) <= 130
