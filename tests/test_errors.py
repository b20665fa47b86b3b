"""The tree of errors: each says what is the matter, and what helps."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

from shardwright import errors

SAMPLES: dict[str, Any] = {
    "str": "a {name} with braces",
    "int": 7,
    "int | str": 7,
    "float": 2.5,
    "Path": Path("/somewhere"),
    "list[ConfigError]": [errors.MissingKey(file="f", key="k")],
    "dict[str, EmbeddedError]": {"main": errors.BinariesNotFound(looked_at="PATH")},
}


def family(kind: type[errors.ShardwrightError]) -> list[type[errors.ShardwrightError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in family(below))]


ALL = family(errors.ShardwrightError)
RAISED = [kind for kind in ALL if not kind.__subclasses__() or kind is errors.UsageError]


def example(kind: type[errors.ShardwrightError]) -> errors.ShardwrightError:
    return kind(**{field.name: SAMPLES[str(field.type)] for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_error_says_the_fact_and_the_cure(kind: type[errors.ShardwrightError]) -> None:
    """Both templates can be filled from the declared fields, and neither is empty."""
    error = example(kind)
    assert str(error)
    assert str(error) != errors.ShardwrightError.fact
    assert error.hint


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_explains_itself_to_the_programmer(kind: type[errors.ShardwrightError]) -> None:
    """A docstring of its own, which dataclass would otherwise fill with the signature; and a known exit code."""
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")
    assert kind.exit_code in (2, 64, 78)


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_error_can_travel_between_processes(kind: type[errors.ShardwrightError]) -> None:
    """An error that can't be unpickled breaks the pool of the process that waits for it."""
    error = example(kind)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 our own bytes
    assert (type(again), str(again), again.hint) == (kind, str(error), error.hint)


def test_the_tree_in_the_first_lines_is_the_tree() -> None:
    """What the module's docstring draws is what its classes are."""
    drawn = errors.__doc__ or ""
    assert all(kind.__name__ in drawn for kind in errors.ShardwrightError.__subclasses__())
