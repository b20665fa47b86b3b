"""Who is told: a webhook, a command, the log. Each takes several alerts at once, or says why it could not."""

from __future__ import annotations

import http.client
import json
import logging
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from shardwright.config import Config
from shardwright.dsn import redact
from shardwright.monitor.alerts.alert import Alert

_logger = logging.getLogger("shardwright.alerts")
_PATIENCE = 10.0  # seconds, for one answer of a webhook
_COMMAND_PATIENCE = 60.0
_SHOWN = 20  # alerts in one message for people; the rest is counted


class NotTold(Exception):
    """A receiver could not be told; the reason shows no secret."""


class Receiver(Protocol):
    """Somebody who is told."""

    @property
    def name(self) -> str:
        """What the memory of alerts keeps."""

    def tell(self, alerts: Sequence[Alert]) -> None:
        """They have heard of these. Raises NotTold."""


@dataclass(frozen=True)
class Sender:
    """Whose alerts they are."""

    shard_set: str
    environment: str

    def document(self, alerts: Sequence[Alert]) -> dict[str, Any]:
        """What a webhook and a command get."""
        return {
            "set": self.shard_set,
            "environment": self.environment,
            "alerts": [alert.as_dict() for alert in alerts],
        }

    def slack(self, alerts: Sequence[Alert]) -> dict[str, Any]:
        """What Slack takes: one text, in which nobody is called and nothing is a link that was not meant as one."""
        lines = [line(alert) for alert in alerts[:_SHOWN]]
        more = [f"and {len(alerts) - _SHOWN} more: shardwright check"] if len(alerts) > _SHOWN else []
        text = "\n".join([f"*{self.shard_set}* ({self.environment})", *lines, *more])
        return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def line(alert: Alert) -> str:
    """The alert in one line, for people."""
    if not alert.is_firing:
        return f"✓ over: {alert.rule} {alert.subject}: {alert.fact}"
    cure = f"; try: {alert.cure}" if alert.cure else ""
    return f"{'✗' if alert.severity == 'critical' else '!'} {alert.rule} {alert.subject}: {alert.fact}{cure}"


@dataclass(frozen=True)
class Webhook:
    """Posts a document to a URL, whose path is as secret as a password."""

    url: str
    document: Callable[[Sequence[Alert]], dict[str, Any]]
    name: str = "webhook"

    def tell(self, alerts: Sequence[Alert]) -> None:
        """As `Receiver` says."""
        body = json.dumps(self.document(alerts)).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "shardwright"}
        request = urllib.request.Request(self.url, body, headers, method="POST")  # noqa: S310 http(s), says the configuration
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
                answer.read(1)
        except urllib.error.HTTPError as error:
            with error:
                raise NotTold(f"the webhook at {self._host} answered {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise NotTold(f"the webhook at {self._host} can't be reached: {self._redacted(str(reason))}") from None

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or "?"

    def _redacted(self, text: str) -> str:
        return redact(text.replace(self.url, f"{self._host}/…"))


@dataclass(frozen=True)
class Command:
    """Starts a program with the document on its standard input; what it prints goes where ours goes."""

    arguments: tuple[str, ...]
    document: Callable[[Sequence[Alert]], dict[str, Any]]
    name: str = "command"

    def tell(self, alerts: Sequence[Alert]) -> None:
        """As `Receiver` says."""
        text = json.dumps(self.document(alerts))
        try:
            done = subprocess.run(
                self.arguments, input=text, encoding="utf-8", errors="replace", timeout=_COMMAND_PATIENCE,
                check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotTold(f"the command {self.arguments[0]} did not end in {_COMMAND_PATIENCE:.0f} s") from None
        except OSError as error:
            raise NotTold(f"the command {self.arguments[0]} can't be started: {error.strerror}") from None
        if done.returncode != 0:
            last = redact(done.stderr.strip().splitlines()[-1]) if done.stderr.strip() else "it said nothing"
            raise NotTold(f"the command {self.arguments[0]} ended with {done.returncode}: {last}")


@dataclass(frozen=True)
class Log:
    """Says each alert in a line, and logs it with its facts."""

    say: Callable[[Alert], None]
    name: str = "log"

    def tell(self, alerts: Sequence[Alert]) -> None:
        """As `Receiver` says; nothing can go wrong."""
        for alert in alerts:
            facts = {name: value for name, value in alert.as_dict().items() if value is not None}
            _logger.log(logging.WARNING if alert.is_firing else logging.INFO, "alert", extra=facts)
            self.say(alert)


def receivers(config: Config, say: Callable[[Alert], None]) -> tuple[Receiver, ...]:
    """Those that [alerts] names; where it names none, the log."""
    sender = Sender(config.fleet.set, config.fleet.environment)
    found: list[Receiver] = []
    if config.alerts.webhook is not None:
        document = sender.slack if config.alerts.format == "slack" else sender.document
        found.append(Webhook(config.alerts.webhook.get_secret_value(), document))
    if config.alerts.command:
        found.append(Command(config.alerts.command, sender.document))
    return tuple(found) or (Log(say),)
