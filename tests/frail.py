"""Stages whose servers may be killed and whose networks may stall, for tests of faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from kills import kill
from kit import create_database, drop_databases, until
from shardwright.embedded import Cluster
from shardwright.testing.places import cluster_in_memory
from stage import Stage
from stalls import Network


class Frail(Stage):
    """Every database is on one of `servers`, and behind a network where it has one of `networks`."""

    servers: dict[str, Cluster]
    networks: dict[str, Network]

    def databases_at(self, where: str) -> Iterable[str]:
        """Which of them are on that server."""
        return [where]

    def crash(self, where: str) -> None:
        """kill -9 of the server; it is back in a second."""
        kill(self.servers[where])
        threading.Thread(target=self._come_back, args=(where,)).start()

    def _come_back(self, where: str) -> None:
        time.sleep(1.0)
        self.servers[where].start()

    def stall(self, where: str) -> None:
        """The network between us and that server swallows everything for some seconds; writers have their own."""
        for name in self.databases_at(where):
            self.networks[name].stall()
            threading.Timer(4.0, self.networks[name].flow).start()

    def await_servers(self) -> None:
        """Every server is there to be asked."""
        until(lambda: all(server.is_running() for server in self.servers.values()))


@contextmanager
def running(names: Iterable[str]) -> Iterator[dict[str, Cluster]]:
    """A server for each name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(cluster_in_memory()) for name in names}


def database_on(server: Cluster, stack: ExitStack) -> str:
    """A new database, gone with the stack, whatever has become of its server by then."""
    server.start()
    url = create_database(server)
    stack.callback(drop_databases, server, [url])
    stack.callback(server.start)
    return url
