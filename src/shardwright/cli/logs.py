"""`--log-format json`: everything that is logged, and what stderr would say, as one JSON object a line."""

from __future__ import annotations

import logging
import logging.config
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from shardwright.cli.streams import Stream
from shardwright.dsn import redact

_LEVELS = {"shardwright": "INFO", "uvicorn": "INFO"}


def log_as_json() -> None:
    """From here on every record of this process is a line of JSON on stderr, without secrets."""
    steps: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=steps,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(default=str),
        ],
    )
    handler = logging.StreamHandler(Stream(sys.stderr))
    handler.setFormatter(formatter)
    logging.basicConfig(level="WARNING", handlers=[handler], force=True)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)


def _redacted(logger: Any, name: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    del logger, name
    for key, value in record.items():
        if isinstance(value, str):
            record[key] = redact(value)
    return record
