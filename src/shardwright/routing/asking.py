"""Asks the catalog over one connection that is kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, TypeVar

import psycopg

from shardwright import errors
from shardwright.catalog import placement
from shardwright.catalog.control import read_control, unavailable
from shardwright.config import FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.routing.known import Place

NAME = "shardwright routing"
T = TypeVar("T")
# Callers wait behind a question: a control database that has fallen silent is given up in seconds, not in a minute.
IMPATIENT = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "5000",
}


def impatient(control: DatabaseUrl) -> DatabaseUrl:
    """The same database, given up sooner where its URL does not say when."""
    url = DatabaseUrl.parse(control.conninfo)
    return replace(url, parameters=tuple({**IMPATIENT, **dict(url.parameters)}.items()))


class Asker:
    """One question at a time; the connection is made by the first, and anew where it broke.

    `since`: the file of the control schema that has what is asked for.
    """

    def __init__(self, fleet: FleetConfig, *, since: int) -> None:
        self._fleet = fleet
        self._since = since
        self._stack = ExitStack()
        self._control: psycopg.Connection[Any] | None = None

    def ask(self, tenant: str) -> Place | None:
        """Where the directory has `tenant`; None where it has not. Raises BadTenantId, ControlError."""
        placement.require_id(tenant)
        return self.put(lambda control: self._find(control, tenant))

    def put(self, question: Callable[[psycopg.Connection[Any]], T]) -> T | None:
        """What `question` finds; None where there is no catalog. Raises ControlError."""
        if self._control is not None:
            try:
                return question(self._control)
            except psycopg.Error:  # it was ended while it lay idle, perhaps; a new one tells
                self.close()
        self._control = self._open()
        return self._put_or_close(question, self._control) if self._control is not None else None

    def close(self) -> None:
        """The connection is closed; a later question makes another."""
        self._control = None
        stack, self._stack = self._stack, ExitStack()
        with suppress(errors.ControlError):  # broken already
            stack.close()

    def _open(self) -> psycopg.Connection[Any] | None:
        opened = read_control(self._fleet.control, application_name=NAME, since=self._since)
        control = self._stack.enter_context(opened)
        if control is None:
            self.close()  # a schema that is made later is to be seen
        return control

    def _put_or_close(self, question: Callable[[psycopg.Connection[Any]], T], control: psycopg.Connection[Any]) -> T:
        try:
            return question(control)
        except psycopg.Error as error:
            self.close()
            raise unavailable(self._fleet.control, error) from error

    def _find(self, control: psycopg.Connection[Any], tenant: str) -> Place | None:
        found = placement.find(control, self._fleet.shard_set, tenant)
        return Place(found.shard, found.epoch) if found else None
