"""The local fleet of a project: which shards there are, and on which cluster each lives."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from shardwright.embedded.account import open_parents
from shardwright.embedded.cluster import Cluster, destroy_all, start_all, stop_all
from shardwright.embedded.locks import LOCK_FILE, locked
from shardwright.errors import LayoutCannotShrink, LayoutUnreadable

CONTROL_DATABASE = "control"
_FILE = "layout.json"
_NAME = re.compile(r"\w+", re.ASCII)  # it becomes a folder and a database


@dataclass(frozen=True)
class Layout:
    """Cluster names, and for each shard name its cluster. The control database is on the first cluster."""

    clusters: tuple[str, ...] = ()
    shards: Mapping[str, str] = field(default_factory=dict)

    def extended(self, *, shards: int, clusters: int) -> Layout:
        """The same with more, no shard moved; a new shard goes to the cluster with the fewest, in order.

        Raises LayoutCannotShrink.
        """
        for what, wanted, present in (("shards", shards, self.shards), ("clusters", clusters, self.clusters)):
            if wanted < 1:
                raise ValueError(f"there must be {what}")
            if wanted < len(present):
                raise LayoutCannotShrink(what, wanted, len(present))
        names = (*self.clusters, *(f"cluster_{number}" for number in range(len(self.clusters), clusters)))
        placed = dict(self.shards)
        for number in range(len(placed), shards):
            load = Counter(placed.values())
            placed[f"shard_{number}"] = min(names, key=lambda name: load[name])
        return Layout(names, placed)


@dataclass(frozen=True)
class LocalFleet:
    """The clusters of one project's state directory, as their layout says. It makes no databases."""

    state: Path
    layout: Layout

    @classmethod
    def load(cls, state: Path) -> LocalFleet | None:
        """The fleet kept in `state`, or None when there is none. Raises LayoutUnreadable."""
        layout = _read(state / _FILE)
        return cls(state, layout) if layout else None

    @classmethod
    def create(cls, state: Path, *, shards: int, clusters: int) -> LocalFleet:
        """The fleet in `state`, made or extended to these numbers; nothing is started.

        Raises LayoutCannotShrink, LayoutUnreadable.
        """
        open_parents(state)
        with locked(state, create=True):
            present = _read(state / _FILE) or Layout()
            wanted = present.extended(shards=shards, clusters=clusters)
            if wanted != present:
                _write(state / _FILE, wanted)
        return cls(state, wanted)

    @cached_property
    def clusters(self) -> list[Cluster]:
        """The clusters, in the layout's order."""
        return [Cluster(self.state / name) for name in self.layout.clusters]

    @property
    def control_url(self) -> str:
        """The URL of the control database."""
        return self.clusters[0].url(CONTROL_DATABASE)

    @property
    def shard_urls(self) -> dict[str, str]:
        """The URL of each shard; its database has the shard's name."""
        by_name = dict(zip(self.layout.clusters, self.clusters, strict=True))
        return {shard: by_name[cluster].url(shard) for shard, cluster in self.layout.shards.items()}

    def is_running(self) -> bool:
        """Whether every cluster takes connections."""
        return all(cluster.is_running() for cluster in self.clusters)

    def start(self) -> None:
        """Every cluster takes connections. Raises ClustersFailed."""
        start_all(self.clusters)

    def stop(self) -> None:
        """Every cluster is stopped; the data stay. Raises ClustersFailed."""
        stop_all(self.clusters)

    def destroy(self) -> None:
        """The clusters and their layout are gone, and the state directory if nothing else is in it.

        Raises ClustersFailed; the layout is kept then, for another try.
        """
        destroy_all(self.clusters)
        for name in (_FILE, LOCK_FILE):
            (self.state / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.state.rmdir()


def _read(path: Path) -> Layout | None:
    try:
        found = json.loads(path.read_text())
        layout = Layout(tuple(found["clusters"]), dict(found["shards"]))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise LayoutUnreadable(path, f"{type(error).__name__}: {error}") from error
    if not layout.clusters or not set(layout.shards.values()) <= set(layout.clusters):
        raise LayoutUnreadable(path, "a shard is on a cluster that is not listed")
    for name in (*layout.clusters, *layout.shards):
        if not _NAME.fullmatch(str(name)):
            raise LayoutUnreadable(path, f"{name!r} is no name")
    return layout


def _write(path: Path, layout: Layout) -> None:
    """Whole or not at all: beside it, to the disk, then in its place."""
    beside = path.with_suffix(".json.new")
    with beside.open("w") as file:
        json.dump({"clusters": layout.clusters, "shards": dict(layout.shards)}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
