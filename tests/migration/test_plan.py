"""Waves, cut without a database."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright.dsn import DatabaseUrl
from shardwright.errors import UsageError
from shardwright.migration.plan import ShardPlan, in_waves, parse_waves
from shardwright.shard import Shard

_URL = DatabaseUrl.parse("postgresql://app@host/database")


def plans(*labels: str) -> list[ShardPlan]:
    """A plan for each, the shard labelled canary = "yes" or not."""
    return [
        ShardPlan(Shard(f"shard_{number}", _URL, {"canary": label}), (), ("r1",), ("r1",))
        for number, label in enumerate(labels)
    ]


def names(waves: Sequence[Sequence[ShardPlan]]) -> list[list[str]]:
    return [[each.shard.name for each in wave] for wave in waves]


FLEETS = st.lists(st.sampled_from(["yes", "no"]), max_size=40)
PERCENTAGES = st.lists(st.integers(1, 100), unique=True, max_size=5).map(sorted)


@given(FLEETS, st.integers(0, 50), PERCENTAGES)
def test_every_shard_is_in_exactly_one_wave(labels: list[str], canary: int, percentages: list[int]) -> None:
    """Whatever the cuts, no shard is left out, none is done twice, and no wave is empty."""
    todo = plans(*labels)
    waves = in_waves(todo, canary=canary, shares=[each / 100 for each in percentages])
    assert sorted(name for wave in names(waves) for name in wave) == sorted(each.shard.name for each in todo)
    assert all(waves)


@given(FLEETS, PERCENTAGES)
def test_without_canaries_the_order_of_the_file_is_kept(labels: list[str], percentages: list[int]) -> None:
    """Waves only cut."""
    todo = plans(*labels)
    waves = in_waves(todo, shares=[each / 100 for each in percentages])
    assert [each for wave in waves for each in wave] == todo


@given(FLEETS, st.integers(1, 50))
def test_canaries_keep_their_order_and_so_do_the_others(labels: list[str], canary: int) -> None:
    """Labelled shards come first, otherwise nothing changes places."""
    todo = plans(*labels)
    flat = [each for wave in in_waves(todo, canary=canary) for each in wave]
    first = [each for each in todo if each.shard.labels["canary"] == "yes"]
    assert flat == first + [each for each in todo if each not in first]


@given(st.integers(0, 400), PERCENTAGES)
def test_after_each_wave_the_asked_share_is_done(size: int, percentages: list[int]) -> None:
    """7 % of 100 shards are 7, though 0.07 * 100 is more in floating point."""
    waves = in_waves(plans(*["no"] * size), shares=parse_waves(",".join(f"{each}%" for each in percentages)))
    done = {sum(len(wave) for wave in waves[:number]) for number in range(1, len(waves) + 1)}
    assert {math.ceil(size * each / 100) for each in percentages} - {0} <= done


@pytest.mark.parametrize(
    ("canary", "shares", "expected"),
    [
        (0, (), [["shard_0", "shard_1", "shard_2", "shard_3"]]),
        (1, (), [["shard_2"], ["shard_0", "shard_1", "shard_3"]]),
        (1, (0.5,), [["shard_2"], ["shard_0"], ["shard_1", "shard_3"]]),
        (3, (0.5, 1.0), [["shard_2", "shard_0", "shard_1"], ["shard_3"]]),
        (9, (), [["shard_2", "shard_0", "shard_1", "shard_3"]]),
    ],
)
def test_waves_of_four_shards(canary: int, shares: tuple[float, ...], expected: list[list[str]]) -> None:
    """The labelled shard is the first canary; a share counts the canaries."""
    assert names(in_waves(plans("no", "no", "yes", "no"), canary=canary, shares=shares)) == expected


@pytest.mark.parametrize("text", ["50%,10%", "10%,10%", "0%", "101%", "ten", "10%,", "nan", "inf%", "-5%", ","])
def test_shares_that_do_not_grow_to_at_most_the_whole_are_refused(text: str) -> None:
    """The error shows what was given and what is meant."""
    with pytest.raises(UsageError, match="not growing percentages") as refused:
        parse_waves(text)
    assert repr(text) in str(refused.value)
    assert "10%,50%" in refused.value.hint


@pytest.mark.parametrize(("text", "shares"), [(None, ()), ("", ()), ("10%, 50", (0.1, 0.5)), ("100%", (1.0,))])
def test_shares_are_read(text: str | None, shares: tuple[float, ...]) -> None:
    """The percent sign may be left out; nothing means no waves."""
    assert parse_waves(text) == shares
