"""A network between a client and a PostgreSQL server that can be made to swallow everything, for tests."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

_BLOCK = 1 << 16


class Network:
    """Passes on what comes; while it is stalled nothing arrives in either direction, and no connection is refused."""

    def __init__(self, url: str, folder: Path) -> None:
        parts = psycopg.conninfo.conninfo_to_dict(url)
        self._server = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        self.url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={quote(str(folder), safe='')}&port=5432"
        self._flows = threading.Event()
        self._flows.set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / ".s.PGSQL.5432"))
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        """Nothing gets through any more."""
        self._flows.clear()

    def flow(self) -> None:
        """What was held back arrives, and what comes passes."""
        self._flows.set()

    def close(self) -> None:
        """No new connections."""
        self.flow()
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            back.start()
            self._pass_on(client, server)
            back.join()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(_BLOCK):
                self._flows.wait()
                other.sendall(data)
        self._flows.wait()
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def network(url: str) -> Iterator[Network]:
    """A network before the server of that URL."""
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        stalling = Network(url, Path(folder))
        try:
            yield stalling
        finally:
            stalling.close()
