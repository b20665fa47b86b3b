"""Writers of the moving tenant, that go where a refusal sends them: `writers.py URLS COUNT PAUSE`.

They end with their stdin, and print when each write was begun and acknowledged, by the machine's one clock.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping

import psycopg

_ID = 10**12
_AGAIN = 0.002


class Writer(threading.Thread):
    """Adds tasks and changes those of the last second, one in a transaction."""

    def __init__(self, number: int, urls: Mapping[str, str], pause: float, over: threading.Event) -> None:
        super().__init__()
        self.writes: list[tuple[float, float]] = []
        self._urls, self._pause, self._over = urls, pause, over
        self._next = number * _ID
        self._open = {name: psycopg.connect(url, autocommit=True) for name, url in urls.items()}
        self._shard = next(iter(urls))

    def run(self) -> None:
        count = 0
        while not self._over.wait(self._pause):
            count += 1
            began = time.monotonic()
            self._write(count)
            self.writes.append((began, time.monotonic()))

    def _write(self, count: int) -> None:
        while True:
            try:
                if count % 3:
                    query = "INSERT INTO tasks VALUES (%s, 1, 'new', repeat('x', 200), 'new', now())"
                    self._open[self._shard].execute(query, [self._next + 1])
                    self._next += 1
                else:
                    query = "UPDATE tasks SET status = 'done' WHERE id = %s AND organization_id = 1"
                    self._open[self._shard].execute(query, [self._next])
            except psycopg.Error as error:
                if error.sqlstate != "SW001":
                    raise
                where = json.loads(error.diag.message_detail or "{}").get("shard")
                self._shard = where or self._shard
                if where is None:
                    time.sleep(_AGAIN)
            else:
                return


def main() -> None:
    over = threading.Event()
    urls, count, pause = json.loads(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    writers = [Writer(number + 1, urls, pause, over) for number in range(count)]
    for writer in writers:
        writer.start()
    sys.stdin.read()
    over.set()
    for writer in writers:
        writer.join()
    print(json.dumps([write for writer in writers for write in writer.writes]))


if __name__ == "__main__":
    main()
