"""One module for each group of commands; importing it registers them."""

from shardwright.cli.commands import data, dev, runs, schema, shards, start

__all__ = ["data", "dev", "runs", "schema", "shards", "start"]
