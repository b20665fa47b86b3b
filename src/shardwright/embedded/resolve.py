"""From a configuration to a fleet with every URL known, its embedded clusters running."""

from __future__ import annotations

from shardwright import errors
from shardwright.config import Config, FleetConfig, Shard
from shardwright.dsn import DatabaseUrl
from shardwright.embedded.layout import LocalFleet
from shardwright.embedded.state import state_directory


def resolve(config: Config) -> FleetConfig:
    """The configured fleet; an embedded one is started if it is not running.

    Raises NoLocalFleet where it is embedded and was never brought up, EmbeddedError where it does not start.
    """
    if config.fleet.control is not None:
        return FleetConfig(config, config.fleet.control, config.shards)
    local = LocalFleet.load(state_directory(config.project))
    if local is None:
        raise errors.NoLocalFleet(file=str(config.file))
    if not local.is_running():
        local.start()
    embedded = tuple(Shard(name, DatabaseUrl.parse(url), {}) for name, url in local.shard_urls.items())
    return FleetConfig(config, DatabaseUrl.parse(local.control_url), config.shards or embedded)
