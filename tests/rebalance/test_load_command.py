"""`tenants load`: who is how heavy, and how old that is."""

from __future__ import annotations

import json
import re
from typing import Any

from kit import MakeProject
from rebalance.scales import SCHEMA, Scales


def told(scales: Scales, *words: str, code: int = 0) -> list[str]:
    """What the command says, without ages, which are the machine's."""
    done = scales.project.cli("tenants", "load", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return re.sub(r"measured \d+ s ago", "measured", done.stdout).splitlines()


def document(scales: Scales, *words: str, code: int = 0) -> Any:
    return json.loads("\n".join(told(scales, "--json", *words, code=code)))


def test_who_is_heavy(make_project: MakeProject, dead_url: str) -> None:
    """Nothing is known, then measured, then read with its age; a shard that is away is named, with exit code 1."""
    scales = Scales(make_project(2))
    for shard in scales.project.shards:
        scales.sql(shard, SCHEMA)
    scales.tenant("shard_0", 1, notes=3000)
    scales.tenant("shard_0", 2, notes=1000)
    scales.tenant("shard_1", 3, notes=10)
    never = [
        f"! {shard} was never measured; try: shardwright tenants load --measure" for shard in ("shard_0", "shard_1")
    ]
    assert told(scales) == never
    scales.fleet.sync_tenants()
    assert told(scales, "--measure", "--dry-run") == ["would read the tables of shard_0, shard_1"]
    estimated = "! 3 tenants are taken for the mean of the fleet, since nobody measured them yet: 1, 2, 3"
    assert told(scales)[-3:] == [*never, estimated]

    once = "writes not known yet, measured"
    lines = told(scales, "--measure", "--top", "2")
    assert re.fullmatch(rf"1  shard_0  6\d\.\d\d%  3003 rows, 4\d\d\.\d kB, {once}", lines[0])
    assert re.fullmatch(rf"2  shard_0  2\d\.\d\d%  1003 rows, 1\d\d\.\d kB, {once}", lines[1])
    assert lines[2] == "and 1 tenant that weighs less; --top N shows more"
    assert re.match(r"shard_0: 8\d\.\d% of the load, 2 tenants, 4006 rows, 6\d\d\.\d kB, ", lines[3])
    scales.backdate()
    scales.measure()
    assert re.fullmatch(r"3  shard_1  1\d.\d\d%  13 rows, .* kB, 0\.0 rows/s written, measured", told(scales)[2])

    found = document(scales, "--shard", "shard_0", "--top", "1")
    assert [(each["tenant"], each["rows"]) for each in found["tenants"]] == [("1", 3003)]
    assert [each["shard"] for each in found["shards"]] == ["shard_0"]
    assert found["shards"][0]["load"] == round(sum(scales.fleet.loads().shares[each] for each in ("1", "2")), 6)
    told(scales, "--shard", "nowhere", code=64)

    scales.project.shards["shard_1"] = dead_url
    scales.write("")
    assert told(scales, "--measure", code=1)[-1].startswith("✗ shard_1: not measured, what was before stands: ")
    assert [each["shard"] for each in document(scales, "--measure", code=1)["failed"]] == ["shard_1"]
