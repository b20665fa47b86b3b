"""Open pages hear that there is something new; and nothing of them is left when they leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import pytest

from shardwright import errors
from shardwright.web import live as lives
from shardwright.web.live import Live
from web import fleets
from web.stage import Show


@dataclass
class Ledger:
    """What `mark` is asked of: another value, and something has happened in a run."""

    mark: int = 0
    is_away: bool = False
    asked: int = 0

    def __call__(self) -> int:
        self.asked += 1
        if self.is_away:
            raise errors.ControlUnavailable(url="postgresql://h/c", reason="away", help="")
        return self.mark


@dataclass
class Scene:
    show: Show
    ledger: Ledger
    live: Live


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    monkeypatch.setattr(lives, "_LOOK_EVERY", 0.05)
    made = Show(fleets.picture(1))
    with made.on():
        yield made


@asynccontextmanager
async def scene(show: Show) -> AsyncIterator[Scene]:
    ledger = Ledger()
    live = Live(show.watch, ledger)
    with live.running():
        yield Scene(show, ledger, live)


async def heard(stream: AsyncIterator[str]) -> str:
    """The name of the next event."""
    async with asyncio.timeout(20):
        async for text in stream:
            if "event: " in text:
                return text.partition("event: ")[2].partition("\n")[0]
    return "the end"


def test_a_page_hears_of_the_next_picture(show: Show) -> None:
    """One that has seen all there is hears nothing before."""

    async def main() -> None:
        async with scene(show) as it, aclosing(it.live.stream(it.live.seen)) as stream:
            listening = asyncio.create_task(heard(stream))
            await asyncio.sleep(0)
            await asyncio.to_thread(it.show.put_up, fleets.picture(2))
            assert await listening == "picture"

    asyncio.run(main())


@pytest.mark.parametrize("seen", ["", "before-the-restart-7"])
def test_a_page_from_before_a_restart_hears_at_once(show: Show, seen: str) -> None:
    """What it has seen is not known here: it is told of everything."""

    async def main() -> None:
        async with scene(show) as it, aclosing(it.live.stream(seen)) as stream:
            assert await heard(stream) == "picture"

    asyncio.run(main())


def test_a_page_hears_of_what_happens_in_runs(show: Show) -> None:
    """Also after the control database was away."""

    async def main() -> None:
        async with scene(show) as it, aclosing(it.live.stream(it.live.seen)) as stream:
            listening = asyncio.create_task(heard(stream))
            assert await listening == "run"  # what may have happened since the page was made
            listening = asyncio.create_task(heard(stream))
            it.ledger.is_away = True
            await until_asked(it.ledger)
            it.ledger.mark, it.ledger.is_away = 7, False
            assert await listening == "run"

    asyncio.run(main())


async def until_asked(ledger: Ledger) -> None:
    """The ledger was asked once more, from beginning to end."""
    before = ledger.asked
    async with asyncio.timeout(20):
        while ledger.asked < before + 2:
            await asyncio.sleep(0.01)


def test_without_a_page_the_control_database_is_left_alone(show: Show) -> None:
    """Nobody looks, nothing is asked."""

    async def main() -> int:
        async with scene(show) as it:
            await asyncio.to_thread(it.show.put_up, fleets.picture(2))
            await asyncio.to_thread(it.show.put_up, fleets.picture(3))
            return it.ledger.asked

    assert asyncio.run(main()) == 0


def test_pages_that_leave_leave_nothing(show: Show) -> None:
    """However many came, and whatever they had not been told yet."""

    async def main() -> None:
        async with scene(show) as it:
            streams = [it.live.stream("") for _ in range(200)]
            for stream in streams:
                await anext(stream)
            assert it.live.readers == 200
            for stream in streams:
                await stream.aclose()
            assert it.live.readers == 0

    asyncio.run(main())


def test_a_page_that_does_not_read_costs_nothing(show: Show) -> None:
    """A thousand pictures later it is told once."""

    async def main() -> None:
        async with scene(show) as it, aclosing(it.live.stream("")) as stream:
            await anext(stream)
            for _ in range(1000):
                it.live._tell("picture")
            (reader,) = it.live._readers
            assert reader.untold == {"picture"}
            assert await heard(stream) == "picture"
            assert reader.untold == set()

    asyncio.run(main())


def test_at_the_end_of_the_server_every_stream_ends(show: Show) -> None:
    """At once: a page that is open does not keep the server from stopping."""

    async def main() -> None:
        async with scene(show) as it, aclosing(it.live.stream(it.live.seen)) as stream:
            listening = asyncio.create_task(heard(stream))
            await asyncio.sleep(0)
            await asyncio.to_thread(it.live.close)
            assert await listening == "the end"

    asyncio.run(main())


def test_a_quiet_stream_says_that_it_is_there(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would close one that says nothing for a minute."""
    monkeypatch.setattr(lives, "_SILENCE", 0.01)

    async def main() -> list[str]:
        async with scene(show) as it, aclosing(it.live.stream(it.live.seen)) as stream:
            return [await anext(stream) for _ in range(3)]

    assert asyncio.run(main()) == ["retry: 2000\n\n", ":\n\n", ":\n\n"]
