"""Shows a run while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import IO, TYPE_CHECKING, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from shardwright.cli.streams import Stream, printable
from shardwright.cli.words import MANY, counted, rehearsal_lines, result_line
from shardwright.runs.events import (
    Decided,
    Event,
    Rehearsed,
    Rehearsing,
    RunFinished,
    RunStarted,
    ShardFinished,
    ShardPrepared,
    ShardProgress,
    ShardStarted,
    ShardWaiting,
    Stopping,
    Warned,
    WaveStarted,
    WaysChosen,
)
from shardwright.runs.results import Status, revisions_text

if TYPE_CHECKING:
    from shardwright.cli.screen import Screen

_SHOWN_AT_ONCE = 4


class PlainProgress:
    """One line for everything worth a line; what had nothing to do is told in one line where there are many."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._total = 0
        self._quiet_ones: dict[str | None, int] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._total = event.total
            case RunFinished():
                self._tell_quiet_ones()
            case ShardFinished() | ShardPrepared() | ShardStarted() | ShardProgress() | ShardWaiting():
                self._tell_shard(event)
            case _:
                self._tell_course(event)

    def _tell_course(self, event: Event) -> None:
        match event:
            case WaysChosen(rendered, why_online):
                self._tell_ways(rendered, why_online)
            case Warned(fact, cure):
                self.say(f"! {fact}" + (f"; try: {cure}" if cure else ""), "yellow")
            case Rehearsing(shard, shards):
                others = f" for {counted(shards, 'shard')}" if shards > 1 else ""
                self.say(f"rehearsing on a copy of {shard}{others} …", "dim")
            case Rehearsed(report):
                for line in rehearsal_lines(report):
                    self.say(*line)
            case WaveStarted(number, of, shards):
                self.say(f"wave {number} of {of}: {counted(shards, 'shard')}", None)
            case Decided(decision, shards):
                self._screen.note(f"  {decision} on {counted(shards, 'shard')}")
            case Stopping(reason):
                self.say(f"stopping: {reason}; nothing new is started", "yellow")

    def _tell_shard(self, event: Event) -> None:
        match event:
            case ShardFinished(result) if result.status is Status.UP_TO_DATE and self._total > MANY:
                revision = revisions_text(result.after)
                self._quiet_ones[revision] = self._quiet_ones.get(revision, 0) + 1
            case ShardFinished(result):
                self.say(*result_line(result))
            case ShardWaiting(shard, reason, seconds):
                self.say(f"  {shard}: {reason}; again in {seconds:.1f} s", "dim")
            case ShardStarted(shard, attempt):
                self._screen.note(f"  {shard}: started" + (f" (try {attempt})" if attempt > 1 else ""))
            case ShardPrepared(shard):
                self._screen.note(f"  {shard}: prepared")
            case ShardProgress(shard, message):
                self._screen.note(f"  {shard}: {message}")

    def _tell_ways(self, rendered: tuple[str, ...], why_online: Mapping[str, str]) -> None:
        several = f"{len(rendered)} revisions are" if len(rendered) > 1 else f"{rendered[0]} is"
        self.say(f"{several} rendered once and sent to all, proven to do the same as online", "dim")
        for revision, why in why_online.items():
            self.say(f"  {revision} runs online: {why}", "dim")

    def say(self, text: str, style: str | None) -> None:
        """One line for people."""
        self._screen.line(text, style=style)

    def _tell_quiet_ones(self) -> None:
        for revision, count in self._quiet_ones.items():
            self.say(f"- {count} shards: already up to date ({revision})", "dim")
        self._quiet_ones.clear()


class LiveProgress(PlainProgress):
    """The same lines above a bar that says how far it is and which shards are in work."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        # Not sys.stdout itself: a terminal that goes away must not end the run.
        self._console = Console(file=cast("IO[str]", Stream(sys.stdout)), highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[running]}", style="dim"),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, running="", visible=False)
        self._in_work: dict[str, str] = {}

    def __enter__(self) -> LiveProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._progress.start()  # no sooner: its thread would be in the way of `run_apart`
                title = f"{event.kind} to {event.target}" if event.target else event.kind
                self._progress.update(self._task, description=title, total=event.todo, completed=0, visible=True)
            case ShardStarted(shard, _):
                self._in_work[shard] = shard
            case ShardProgress(shard, message):
                self._in_work[shard] = printable(f"{shard}: {message}")
            case ShardPrepared(shard):
                self._in_work[shard] = f"{shard}: prepared"
            case ShardWaiting(shard, _, _):
                self._in_work.pop(shard, None)
            case ShardFinished(result) if self._in_work.pop(result.shard, None):
                self._progress.advance(self._task)
        shown = list(self._in_work.values())
        more = f" +{len(shown) - _SHOWN_AT_ONCE}" if len(shown) > _SHOWN_AT_ONCE else ""
        self._progress.update(self._task, running=", ".join(shown[:_SHOWN_AT_ONCE]) + more)
        super().__call__(event)

    def say(self, text: str, style: str | None) -> None:
        """One line above the bar."""
        self._console.print(Text(printable(text), style or ""), soft_wrap=True)
