"""From a configuration to a fleet with every URL known, its embedded clusters running."""

from __future__ import annotations

from shardwright import errors
from shardwright.config import Config, FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.embedded.cluster import Cluster
from shardwright.embedded.layout import CONTROL_DATABASE, LocalFleet
from shardwright.embedded.state import state_directory
from shardwright.pg import databases
from shardwright.shard import Shard


def resolve(config: Config) -> FleetConfig:
    """The configured fleet; clusters of ours that it needs are started if they are not running, and none is made.

    Raises NoLocalFleet where its shards are embedded and were never brought up, EmbeddedError where one does not
    start.
    """
    if config.fleet.control is not None:
        return FleetConfig(config, config.fleet.control, config.shards, config.green)
    if (control := control_cluster(config)) is not None:
        if control.directory.exists() and not control.is_running():
            control.start()
        return FleetConfig(config, DatabaseUrl.parse(control.url(CONTROL_DATABASE)), config.shards, config.green)
    local = LocalFleet.load(state_directory(config.project))
    if local is None:
        raise errors.NoLocalFleet(file=str(config.file))
    if not local.is_running():
        local.start()
    embedded = tuple(Shard(name, DatabaseUrl.parse(url), {}) for name, url in local.shard_urls.items())
    return FleetConfig(config, DatabaseUrl.parse(local.control_url), config.shards or embedded, config.green)


def control_cluster(config: Config) -> Cluster | None:
    """The cluster of a control database that is embedded although the shards are not; None where it is elsewhere.

    It holds the ledger of shards that matter, unless they are marked as disposable: then it is as fast as theirs.
    """
    if config.fleet.control is not None or not config.shards:
        return None
    state = state_directory(config.project)
    if LocalFleet.load(state) is not None:
        return None  # the ledger began beside embedded shards, and stays there
    return Cluster(state / CONTROL_DATABASE, safe=not config.is_disposable)


def make_control(config: Config) -> bool:
    """An embedded control database of the developer's own shards is there, made if need be; whether it had to be.

    Nothing where the control database is elsewhere. Raises EmbeddedError.
    """
    cluster = control_cluster(config)
    if cluster is None:
        return False
    if not cluster.is_running():
        cluster.start()
    url = DatabaseUrl.parse(cluster.url(CONTROL_DATABASE))
    return databases.create_if_missing(url, application_name="shardwright")
