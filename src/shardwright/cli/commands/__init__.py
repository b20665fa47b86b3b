"""One module for each group of commands; importing it registers them."""

from shardwright.cli.commands import (
    bluegreen,
    check,
    data,
    dev,
    lint,
    load,
    move,
    rebalance,
    runs,
    schema,
    serve,
    shards,
    start,
    tables,
    tenants,
    worker,
)

__all__ = [
    "bluegreen",
    "check",
    "data",
    "dev",
    "lint",
    "load",
    "move",
    "rebalance",
    "runs",
    "schema",
    "serve",
    "shards",
    "start",
    "tables",
    "tenants",
    "worker",
]
