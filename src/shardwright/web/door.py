"""Who may act: a session for whoever knows the token, and the proof that a form is of our own page."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from shardwright import errors

SESSION = 12 * 3600  # seconds; after that whoever acts signs in again
SHORTEST = 16  # characters of a token: shorter ones can be guessed
_TRIES = 5  # wrong tokens of one address within a minute
_MINUTE = 60.0
_ADDRESSES = 1000  # of which wrong tokens are remembered
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Session:
    """Somebody who has signed in: the name that the ledger will have, until when (Unix time), and which session."""

    who: str
    until: float
    number: str


class TooManyTries(Exception):
    """Wrong tokens came too often from one address; `seconds` until it may try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many tries; again in {seconds:.0f} s")
        self.seconds = seconds


class Door:
    """Knows one token, or none: then nobody may act.

    A session is a value that the browser keeps, signed by a key that follows from the token: it outlives a restart
    of the server, and a new token ends all of them.
    """

    def __init__(self, token: str | None, *, clock: Callable[[], float] = time.time) -> None:
        if token is not None and len(token) < SHORTEST:
            raise errors.WeakToken(shortest=SHORTEST)
        self._token = token
        self._key = hashlib.sha256(b"shardwright dashboard\0" + (token or secrets.token_hex()).encode()).digest()
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._ended: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def is_there(self) -> bool:
        """Whether anybody can sign in at all."""
        return self._token is not None

    def sign_in(self, token: str, who: str, *, address: str) -> str | None:
        """The cookie of a new session of `who`; None for a wrong token. Raises TooManyTries."""
        self._require_patience(address)
        if not self.knows(token):
            self._note_failure(address)
            return None
        session = {"who": spelled(who), "until": self._clock() + SESSION, "number": secrets.token_hex(8)}
        body = _encoded(json.dumps(session).encode())
        return f"{body}.{self._signature('session', body)}"

    def knows(self, token: str) -> bool:
        """Whether that is the token; takes as long for a wrong one."""
        return self._token is not None and hmac.compare_digest(token.encode(), self._token.encode())

    def session(self, cookie: str | None) -> Session | None:
        """Whose cookie it is; None where it is not ours, expired, or its session was ended."""
        body, _, signature = (cookie or "").partition(".")
        if not self.is_there or not hmac.compare_digest(signature.encode(), self._signature("session", body).encode()):
            return None
        found = Session(**json.loads(base64.urlsafe_b64decode(body + "==")))
        return None if found.until < self._clock() or found.number in self._ended else found

    def sign_out(self, session: Session) -> None:
        """The session is over, also for whoever has copied its cookie."""
        with self._lock:
            now = self._clock()
            self._ended = {number: until for number, until in self._ended.items() if until > now}
            self._ended[session.number] = session.until

    def form_token(self, session: Session) -> str:
        """What a form of this session carries: another site can't know it."""
        return self._signature("form", session.number)

    def is_own_form(self, session: Session, token: str) -> bool:
        """Whether the form was made for this session."""
        return hmac.compare_digest(token.encode(), self.form_token(session).encode())

    def _signature(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()

    def _require_patience(self, address: str) -> None:
        with self._lock:
            failures = self._failures.get(address, deque())
            while failures and failures[0] < self._clock() - _MINUTE:
                failures.popleft()
            if len(failures) >= _TRIES:
                raise TooManyTries(failures[0] + _MINUTE - self._clock())

    def _note_failure(self, address: str) -> None:
        with self._lock:
            self._failures.setdefault(address, deque()).append(self._clock())
            self._failures.move_to_end(address)
            while len(self._failures) > _ADDRESSES:
                self._failures.popitem(last=False)


def spelled(who: str) -> str:
    """A name as the ledger has it: one line, not too long, never empty."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in who).split())
    return plain[:_LONGEST_NAME] or "somebody"


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")  # which a cookie would put in quotes
