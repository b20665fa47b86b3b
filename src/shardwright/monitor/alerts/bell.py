"""Judges each picture, remembers what is wrong, and tells it: a process's part in the alerts of the fleet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from shardwright import errors
from shardwright.catalog.control import beside_control
from shardwright.config import Config
from shardwright.dsn import DatabaseUrl, redact
from shardwright.monitor.alerts.alert import Alert, Key
from shardwright.monitor.alerts.damping import Damping
from shardwright.monitor.alerts.memory import LocalMemory, Memory
from shardwright.monitor.alerts.receivers import NotTold, Receiver
from shardwright.monitor.alerts.rules import Judgement, judge
from shardwright.monitor.alerts.store import SINCE, AlertStore
from shardwright.monitor.picture import Picture

_NAME = "shardwright alerts"
_FAREWELL = 1.0
_REST = 1.0  # seconds until what could not be told is looked at again; how long it rests, its memory says


@dataclass(frozen=True)
class Told:
    """What fires, in its picture, and why whom could not be told; that is tried again by whoever watches next."""

    picture: Picture
    failures: tuple[str, ...] = ()


class Bell:
    """What fires is kept in the control database, where all processes that watch the fleet find it, so that one of them
    tells it; and in this process while that database is away.

    Within `with` a thread tells what is due, so that a receiver that does not answer holds nothing up.
    """

    def __init__(
        self,
        config: Config,
        control: DatabaseUrl | None,
        receivers: Sequence[Receiver],
        damping: Damping,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config, self._control, self._receivers, self._damping = config, control, receivers, damping
        self._say = say
        self._local = LocalMemory()
        self._owes: dict[type[Memory], bool] = {}
        self._is_due, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._deliver_on, name="alerts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._is_due.set()
        self._thread.join(timeout=_FAREWELL)

    def judge(self, picture: Picture) -> Picture:
        """The picture with the alerts that fire; what begins and what is over is written down, to be told."""
        judgement = judge(picture, self._config)
        try:
            with self._store() as store:
                firing = self._judge(judgement, picture, store) if store else None
        except errors.ControlError:
            firing = None  # which is a trouble of its own, and in the next picture
        if firing is None:
            firing = self._turn(judgement, picture, self._local)
        self._is_due.set()
        return replace(picture, alerts=tuple(_as_it_is(alert, judgement) for alert in firing.values()))

    def _judge(self, judgement: Judgement, picture: Picture, store: AlertStore) -> dict[Key, Alert]:
        for line in self._local.own():  # of a time when the control database was away
            if line.alert.is_firing:
                store.begin([line.alert], line.told)
            else:
                store.resolve([line.alert], line.told)
        firing = self._turn(judgement, picture, store)
        self._local.mirror(firing.values(), {receiver.name: "firing" for receiver in self._receivers})
        return firing

    def _turn(self, judgement: Judgement, picture: Picture, memory: Memory) -> dict[Key, Alert]:
        turn = self._damping.turn(judgement, memory.firing(), picture.at)
        memory.begin(turn.begun)
        memory.resolve(turn.over)
        return memory.firing()

    def deliver(self) -> list[str]:
        """Everybody has heard of what is due, but for the reasons given."""
        failures = self._deliver(self._local)
        with suppress(errors.ControlError), self._store() as store:
            failures += self._deliver(store) if store else []
        return failures

    def _deliver(self, memory: Memory) -> list[str]:
        names = [receiver.name for receiver in self._receivers]
        due = memory.claim(names)
        failures = []
        for receiver in self._receivers:
            lines = [line for line in due if line.is_due(receiver.name)]
            try:
                if lines:
                    receiver.tell([line.alert for line in lines])
                    memory.heard(lines, receiver.name)
            except NotTold as error:
                failures.append(str(error))
                memory.failed(lines)
            except Exception as error:  # noqa: BLE001 nothing that one receiver does may keep the others from hearing
                failures.append(f"{type(error).__name__}: {redact(str(error))}")
                memory.failed(lines)
        self._owes[type(memory)] = memory.owes(names)
        return failures

    def _deliver_on(self) -> None:
        said: list[str] = []
        while not self._is_over.is_set():
            failures = self.deliver()
            owes = any(self._owes.values())
            for failure in failures:
                if failure not in said:
                    self._say(f"alerts wait: {failure}")
            said = [*said, *failures] if owes else []
            self._is_due.wait(_REST if owes else None)
            self._is_due.clear()

    @contextmanager
    def _store(self) -> Iterator[AlertStore | None]:
        """The control database's memory; None where it was never made. Raises ControlError, also for an older one."""
        if self._control is None:
            yield None
            return
        with beside_control(self._control, application_name=_NAME, since=SINCE) as (connection, is_made):
            yield AlertStore(connection, self._config.fleet.set) if is_made else None


def _as_it_is(alert: Alert, judgement: Judgement) -> Alert:
    """In the words of the newest picture, which may have other figures than the first."""
    now = judgement.found.get(alert.key, alert)
    return replace(now, since=alert.since)
