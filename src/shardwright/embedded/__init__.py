"""Finds PostgreSQL binaries and runs local clusters for dev, demo and tests."""

from shardwright.embedded.binaries import Binaries, find_binaries
from shardwright.embedded.cluster import Cluster, destroy_all, start_all, stop_all
from shardwright.embedded.layout import Layout, LocalFleet
from shardwright.embedded.state import state_directory
from shardwright.embedded.temporary import temporary_cluster

__all__ = [
    "Binaries",
    "Cluster",
    "Layout",
    "LocalFleet",
    "destroy_all",
    "find_binaries",
    "start_all",
    "state_directory",
    "stop_all",
    "temporary_cluster",
]
