"""The ledger, what is under way, and one run: its steps, shards, waves, plots, and what may be done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shardwright import errors
from shardwright.runs.board import DurableRun, StepRecord
from shardwright.runs.results import WELL, ShardResult, Status
from shardwright.runs.store import Run
from shardwright.shard import as_people_count
from shardwright.web import words
from shardwright.web.actions import Subject, actions
from shardwright.web.pages.rebalance import bars, shown
from shardwright.web.plots import Plot, plot, rates
from shardwright.web.site import Site, number_in, number_of

AT_ONCE = 50
SILENT = 60  # seconds after which a worker that said nothing is not counted on
_KINDS = {
    "move": "Move", "bluegreen": "Blue-green change", "rebalance": "Rebalance", "migrate": "Rollout",
    "rollback": "Rollback",
}  # fmt: skip
_FEW = 200  # shards of a wave that are told by name


@dataclass(frozen=True)
class Wave:
    """Some shards of a rollout that are worked on together, by how they stand."""

    number: int
    shards: int
    counts: Mapping[str, int]

    @property
    def done(self) -> int:
        """How many have a result."""
        return self.shards - self.counts.get("not_tried", 0)

    @property
    def state(self) -> str:
        """`to do`, `under way`, `done`, or `failed` where a shard was not well."""
        if any(self.counts.get(each) for each in ("failed", "unknown", "ahead")):
            return "failed"
        return "done" if self.done == self.shards else "under way" if self.done else "to do"


def ledger(site: Site, request: Request) -> Response:
    """The runs, newest first, a page at a time."""
    number = number_in(request.query_params.get("before", ""))
    found = site.fleet.runs(limit=AT_ONCE + 1, before=number)
    return site.render(
        request, "ledger.html", section="/runs", live=number is None, runs=found[:AT_ONCE], kinds=_KINDS,
        next=found[AT_ONCE - 1].id if len(found) > AT_ONCE else None, before=number,
    )  # fmt: skip


def work(site: Site, request: Request) -> Response:
    """What is under way, and who carries it."""
    picture = site.picture()
    if picture is None:
        return site.render(request, "waiting.html", section="/work")
    return site.render(request, "work.html", section="/work", picture=picture, kinds=_KINDS, silent=SILENT)


def run(site: Site, request: Request, *, status: int = 200, failure: errors.ShardwrightError | None = None) -> Response:
    """One run. Raises NoSuchRun."""
    number = number_of(request)
    found, results = site.fleet.run(number)
    subject = subject_of(site, found)
    values: dict[str, Any] = {"run": found, "kinds": _KINDS, "failure": failure, "subject": subject}
    values |= _shards_told(site, found, results)
    if subject is not None:
        values |= _durable_told(site, subject)
    else:
        values |= {"actions": [], "events": [], "plots": [], "eta": None, "workers": 0}
    return site.render(request, "run.html", section="/runs", status=status, **values)


def of_tenant(site: Site, request: Request) -> Response:
    """The tenant's last move."""
    found = site.fleet.move_status(request.query_params.get("tenant", ""))
    return RedirectResponse(f"/runs/{found.run.id}", 303)


def subject_of(site: Site, run: Run) -> Subject | None:
    """The run as one that may be acted on; None for a rollout of a process's own."""
    durable = site.fleet.durable_run(run.id) if run.is_durable else None
    if durable is None:
        return None
    return Subject(
        durable,
        tuple(site.fleet.steps(run.id)),
        site.fleet.move_of_run(run.id) if run.kind == "move" else None,
        site.fleet.change_of_run(run.id) if run.kind == "bluegreen" else None,
        site.fleet.rebalance_of_run(run.id) if run.kind == "rebalance" else None,
    )


def _durable_told(site: Site, subject: Subject) -> dict[str, Any]:
    number = subject.run.id
    course = site.fleet.course(number)
    return {
        "actions": actions(subject),
        "events": list(reversed(site.fleet.recent_events(number))),
        "plots": [*plots_of(course, subject.steps), *(_lags_of(site, subject.run) if subject.change else ())],
        "eta": site.fleet.eta(number) if subject.run.state == "running" else None,
        "bars": bars(subject.run.plan) if subject.rebalance else [],
        "lines": shown(subject.rebalance.lines) if subject.rebalance else [],
        "workers": sum(worker.silent < SILENT for worker in site.fleet.workers()),
    }


def _shards_told(site: Site, run: Run, results: Sequence[ShardResult]) -> dict[str, Any]:
    """The shards of a rollout: those that are not well by name and with their cure, the waves, the rest."""
    results = sorted(results, key=lambda each: as_people_count(each.shard))
    wrong = [each for each in results if each.status not in WELL | {Status.NOT_TRIED, Status.ROLLED_BACK}]
    others = [each for each in results if each not in wrong]
    return {
        "results": results,
        "wrong": wrong,
        "others": others,
        "counts": Counter(each.status.value for each in results),
        "waves": _waves(site.fleet.plan_of(run.id), results) if results else [],
        "few": _FEW,
    }


def _waves(plan: Mapping[str, Any], results: Sequence[ShardResult]) -> list[Wave]:
    """The waves of the plan; none where everything is one."""
    status = {each.shard: each.status.value for each in results}
    waves = [[each["shard"] for each in wave] for wave in plan.get("waves") or ()]
    if len(waves) < 2:
        return []
    return [
        Wave(place, len(wave), Counter(status.get(name, "not_tried") for name in wave))
        for place, wave in enumerate(waves, 1)
    ]


def plots_of(course: Sequence[tuple[datetime, Mapping[str, Any]]], steps: Sequence[StepRecord]) -> list[Plot]:
    """Throughput of the copy, keys that are still to be brought, and the lag, over the time of the run."""
    marks = [(step.begun_at, step.name) for step in steps if step.begun_at is not None]
    rows = [(at, float(data["done"])) for at, data in course if data["unit"] == "rows"]
    keys = [(at, float(data["total"] or 0) - float(data["done"])) for at, data in course if data["unit"] == "keys"]
    lags = [(at, data.get("lag")) for at, data in course if data.get("lag") is not None]
    shards = [(at, float(data["done"])) for at, data in course if data["unit"] == "shards"]
    lines = (
        plot("Rows a second", rates(rows), words.short, marks=marks),
        plot("Keys to go", keys, words.short, marks=marks),
        plot("Seconds behind", lags, words.span, marks=marks),
        plot("Shards done", shards, words.short, marks=marks),
    )
    return [each for each in lines if each is not None]


def _lags_of(site: Site, run: DurableRun) -> list[Plot]:
    """How far the slowest lane of a change was behind, in the pictures of the last hour."""
    changes = [
        (picture.at, picture.change)
        for picture in site.watch.history()
        if picture.change is not None and picture.change.run.id == run.id
    ]

    def most(name: str) -> list[tuple[datetime, float | None]]:
        return [(at, max((getattr(lane, name) or 0.0 for lane in each.lanes), default=None)) for at, each in changes]

    lines = (
        plot("Slowest lane, seconds behind", most("lag_seconds"), words.span),
        plot("The way home, seconds behind", most("back_lag_seconds"), words.span),
    )
    return [each for each in lines if each is not None]
