"""The fleet at a glance, and one shard: what is odd first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shardwright.monitor.alerts.alert import Alert
from shardwright.monitor.picture import Picture
from shardwright.monitor.vitals import Vitals
from shardwright.web import words
from shardwright.web.plots import Plot, plot
from shardwright.web.site import Site, vitals_of

ROOMY = 60  # shards that each have a tile; of more, those that are well, and the odd ones beyond, are a name each
_FEW_ON_A_HOST = 4  # of more, a host's trouble is told once, and not as that of each
LEVELS = ("critical", "warning", "note", "well")
_FULL = 0.8  # of the connections, from where on the bar is told as full


@dataclass(frozen=True)
class Trouble:
    """Something about a shard that is not as it should be; a `note` is expected."""

    level: str
    fact: str
    cure: str = ""


@dataclass(frozen=True)
class Tile:
    """One shard on the page."""

    vitals: Vitals
    troubles: tuple[Trouble, ...]
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The shard's."""
        return self.vitals.shard

    @property
    def level(self) -> str:
        """The worst of its troubles, or `well`."""
        return min((each.level for each in self.troubles), key=LEVELS.index, default="well")

    @property
    def used(self) -> float | None:
        """The share of the connections of its server."""
        here, most = self.vitals.connections, self.vitals.connections_allowed
        return None if here is None or not most else here / most

    @property
    def is_full(self) -> bool:
        """Whether nearly all of them are taken."""
        return (self.used or 0) >= _FULL

    def fits(self, words: Sequence[str]) -> bool:
        """Whether each of `words` is somewhere in what is known of it."""
        found = [self.name, self.vitals.host, self.vitals.revision, self.vitals.version, self.level, *self.labels]
        text = "\n".join(filter(None, found)).lower()
        return all(word in text for word in words)


def fleet(site: Site, request: Request) -> Response:
    """Every shard, those first that want a look."""
    picture = site.picture()
    if picture is None:
        return site.render(request, "waiting.html", section="/")
    asked = request.query_params
    tiles = tiles_of(site, picture)
    chosen = [tile for tile in tiles if tile.fits(asked.get("q", "").lower().split())]
    odd = [tile for tile in chosen if tile.level in ("critical", "warning")]
    odd.sort(key=lambda tile: LEVELS.index(tile.level))
    well = [tile for tile in chosen if tile.level not in ("critical", "warning")]
    is_table = asked.get("view") == "table"
    return site.render(
        request, "fleet.html", section="/", picture=picture, tiles=tiles, odd=odd, well=well, asked=asked,
        summary=summary_of(tiles), is_roomy=len(chosen) <= ROOMY, roomy=ROOMY, is_table=is_table, columns=COLUMNS,
        rows=in_order(chosen, asked.get("sort", ""), descending=asked.get("order") == "down") if is_table else (),
    )  # fmt: skip


def shard(site: Site, request: Request) -> Response:
    """One shard: its vitals, their last hour, and everything that concerns it. Raises NoSuchShard."""
    picture = site.picture()
    if picture is None:
        return site.render(request, "waiting.html", section="/")
    name = vitals_of(picture, request).shard
    tile = next(tile for tile in tiles_of(site, picture) if tile.name == name)
    return site.render(
        request, "shard.html", section="/", picture=picture, tile=tile, plots=plots_of(site, name),
        moves=[each for each in picture.moves if name in (each.move.source, each.move.target)],
        drifts=[each for each in picture.checked.schemas.drifts if name in each.odd.shards] if picture.checked else [],
    )  # fmt: skip


def tiles_of(site: Site, picture: Picture) -> list[Tile]:
    """Every shard of the picture, in its order."""
    labels = {each.name: tuple(f"{key}={value}" for key, value in each.labels.items()) for each in site.shards}
    hosts = Counter(each.host for each in picture.vitals)
    crowded = {host for host, shards in hosts.items() if shards > _FEW_ON_A_HOST}
    return [
        Tile(each, troubles_of(each, picture, is_crowded=each.host in crowded), labels.get(each.shard, ()))
        for each in picture.vitals
    ]


def troubles_of(vitals: Vitals, picture: Picture, *, is_crowded: bool) -> tuple[Trouble, ...]:
    """What is wrong with the shard by the alerts that fire, and by the picture itself; the worst first."""
    found = []
    if vitals.fault is not None:
        found.append(Trouble("critical", vitals.fault.reason, vitals.fault.hint))
    for alert in picture.alerts:
        if alert.subject == vitals.host:
            found.append(Trouble("note" if is_crowded else alert.severity, alert.fact, alert.cure))
        elif _is_about(alert, vitals):
            found.append(Trouble(alert.severity, alert.fact, alert.cure))
    for group in picture.skew[1:]:
        if vitals.shard in group.shards:
            why = f"; {group.expected}" if group.expected else ""
            found.append(Trouble("note" if group.expected else "warning", f"revision {group.revision}{why}"))
    return tuple(sorted(found, key=lambda each: LEVELS.index(each.level)))


def _is_about(alert: Alert, vitals: Vitals) -> bool:
    """Whether it is about this shard, or a thing there; that it is down, its own fault says."""
    if alert.rule == "shard_down" and vitals.fault is not None:
        return False
    return alert.subject == vitals.shard or alert.subject.startswith(f"{vitals.shard} ")


def summary_of(tiles: Sequence[Tile]) -> dict[str, Any]:
    """The figures over all tiles."""
    up = [tile.vitals for tile in tiles if tile.vitals.is_up]
    revisions: dict[str, int] = {}
    for each in up:
        revisions[each.revision or "not known"] = revisions.get(each.revision or "not known", 0) + 1
    return {
        "shards": len(tiles),
        "down": len(tiles) - len(up),
        "tenants": _sum(each.tenants for each in up),
        "bytes": _sum(each.bytes for each in up),
        "writes": _sum(each.writes_per_second for each in up),
        "slowest": max(
            (each for each in up if each.seconds is not None), key=lambda each: each.seconds or 0, default=None
        ),
        "fullest": max(
            (tile for tile in tiles if tile.used is not None), key=lambda tile: tile.used or 0, default=None
        ),
        "revisions": sorted(revisions.items(), key=lambda each: -each[1]),
        "hosts": len({each.vitals.host for each in tiles}),
    }


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


@dataclass(frozen=True)
class Column:
    """A column of the table of shards."""

    key: str
    title: str
    value: Callable[[Tile], Any]
    show: Callable[[Any], str]
    is_number: bool = True


COLUMNS = (
    Column("name", "Shard", lambda tile: tile.name, str, is_number=False),
    Column("level", "State", lambda tile: LEVELS.index(tile.level), str, is_number=False),
    Column("revision", "Revision", lambda tile: tile.vitals.revision, lambda value: value or "–", is_number=False),
    Column("tenants", "Tenants", lambda tile: tile.vitals.tenants, words.count),
    Column("size", "Size", lambda tile: tile.vitals.bytes, words.size),
    Column("writes", "Rows/s", lambda tile: tile.vitals.writes_per_second, words.short),
    Column("connections", "Connections", lambda tile: tile.used, words.share),
    Column("latency", "Latency", lambda tile: tile.vitals.seconds, words.span),
    Column("transaction", "Longest tx", lambda tile: tile.vitals.longest_transaction, words.span),
    Column("lag", "Lag", lambda tile: tile.vitals.lag, words.span),
    Column("cache", "Cache", lambda tile: tile.vitals.cache, words.share),
    Column("disk", "Disk", lambda tile: tile.vitals.disk, words.share),
)


def in_order(tiles: Sequence[Tile], key: str, *, descending: bool) -> list[Tile]:
    """The tiles by that column, those without a value last; as they are where there is no such column."""
    column = next((each for each in COLUMNS if each.key == key), None)
    if column is None or key == "name":
        return list(reversed(tiles)) if descending else list(tiles)
    known = [tile for tile in tiles if column.value(tile) is not None]
    known.sort(key=column.value, reverse=descending)
    return known + [tile for tile in tiles if column.value(tile) is None]


def plots_of(site: Site, name: str) -> list[Plot]:
    """The last hour of one shard."""
    history = [(picture.at, picture.shard(name)) for picture in site.watch.history()]

    def line(title: str, value: Callable[[Vitals], float | None], unit: Callable[[float | None], str]) -> Plot | None:
        return plot(title, [(at, value(each) if each else None) for at, each in history], unit)

    lines = (
        line("Latency", lambda each: each.seconds, words.span),
        line("Rows written a second", lambda each: each.writes_per_second, words.short),
        line("Connections", lambda each: each.connections, words.short),
        line("Longest transaction", lambda each: each.longest_transaction or (0.0 if each.is_up else None), words.span),
        line("Replication lag", lambda each: each.lag, words.span),
        line("Size", lambda each: each.bytes, words.size),
    )
    return [each for each in lines if each is not None]
