"""Stands between an application and a server, and cuts the connection at COMMIT."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path


class Proxy:
    """Stands before a server, and cuts the first connection that commits: before the server hears, or answers."""

    def __init__(self, server: Path, *, is_kept: bool) -> None:
        self._server, self._is_kept = server, is_kept
        self.folder = Path(tempfile.mkdtemp(prefix="sw-cut-"))
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listening.listen()
        self._wires: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for wire in [self._listening, *self._wires]:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for wire in [self._listening, *self._wires]:
            wire.close()
        shutil.rmtree(self.folder)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._wires += [client, server]
                cut = threading.Event()
                for function in (self._forward, self._back):
                    self._threads.append(threading.Thread(target=function, args=(client, server, cut)))
                    self._threads[-1].start()

    def _forward(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT" in data:
                    cut.set()
                    if not self._is_kept:
                        break
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            if cut.is_set():
                client.shutdown(socket.SHUT_RDWR)

    def _back(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if cut.is_set():
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
