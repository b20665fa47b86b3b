"""PostgreSQL URLs: parse, compare, redact."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

_SCHEME = re.compile(r"^(?:postgresql|postgres)(?:\+(?P<driver>\w+))?$")
_SECRET_PARAMETERS = ("password", "sslpassword")
_PASSWORD_IN_TEXT = re.compile(r"(?P<before>\bpostgres(?:ql)?(?:\+\w+)?://[^\s:/@]*:)[^\s@]+(?=@)")
_PARAMETER_IN_TEXT = re.compile(r"(?P<before>\b(?:ssl)?password\s*=\s*)('[^']*'|[^\s&'\"]+)", re.IGNORECASE)
DEFAULT_PORT = 5432


@dataclass(frozen=True)
class DatabaseUrl:
    """One database's URL; its `str()` and `repr()` never show a password.

    `driver` is what stands behind the plus sign of an SQLAlchemy URL (`asyncpg`, `psycopg`, …), or None.
    """

    user: str | None
    password: str | None = field(repr=False)
    host: str
    port: int
    database: str
    driver: str | None = None
    parameters: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, text: str) -> DatabaseUrl:
        """The URL that `text` spells, the host being a name, an address or a socket directory.

        Raises ValueError, whose message shows no secret, where it is not a PostgreSQL URL with a database.
        """
        parts = _split(text.strip())
        scheme = _SCHEME.match(parts.scheme)
        if scheme is None:
            raise ValueError("it does not begin with postgresql://")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        authority, _, address = parts.netloc.rpartition("@")
        user, _, password = authority.partition(":")
        host, port = _host_and_port(unquote(address), query)
        database = unquote(parts.path.lstrip("/")) or query.pop("dbname", "")
        if not database:
            raise ValueError("it names no database: postgresql://host/DATABASE")
        return cls(
            user=unquote(user) or query.pop("user", None),
            password=unquote(password) or query.pop("password", None),
            host=host,
            port=port,
            database=database,
            driver=scheme["driver"],
            parameters=tuple(query.items()),
        )

    @property
    def address(self) -> str:
        """The server this database lives on, as `host:port`: what a connection budget is counted for."""
        return f"{self.host}:{self.port}"

    @property
    def identity(self) -> tuple[str, int, str]:
        """Equal for two URLs of the same database, whatever their user, driver and parameters."""
        return (self.host.lower().rstrip("."), self.port, self.database)

    @property
    def conninfo(self) -> str:
        """The URL with its password, for libpq. Never print it."""
        return self._render(scheme="postgresql", secrets=True)

    @property
    def redacted(self) -> str:
        """The URL with every secret masked, for people."""
        return self._render(scheme="postgresql", secrets=False)

    def __str__(self) -> str:
        return self.redacted

    def sqlalchemy(self, driver: str | None = None) -> str:
        """The URL with its password for SQLAlchemy, naming `driver` (or this URL's own)."""
        chosen = driver or self.driver
        return self._render(scheme=f"postgresql+{chosen}" if chosen else "postgresql", secrets=True)

    def with_database(self, database: str) -> DatabaseUrl:
        """The same server and user, another database."""
        return replace(self, database=database)

    def _render(self, *, scheme: str, secrets: bool) -> str:
        query = [(key, value if secrets or key not in _SECRET_PARAMETERS else "***") for key, value in self.parameters]
        user = quote(self.user, safe="") if self.user else ""
        if self.password:
            user += ":" + (quote(self.password, safe="") if secrets else "***")
        if self.host.startswith("/"):
            address = ""
            query = [("host", self.host), ("port", str(self.port)), *query]
        else:
            host = f"[{self.host}]" if ":" in self.host else self.host
            address = f"{host}:{self.port}"
        authority = f"{user}@{address}" if user else address
        tail = "?" + urlencode(query, safe="*/" if not secrets else "") if query else ""
        return f"{scheme}://{authority}/{quote(self.database, safe='')}{tail}"


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:  # its message may show the password
        raise ValueError("it is not a URL; quote special characters in the password as %XX") from None


def _host_and_port(address: str, query: dict[str, str]) -> tuple[str, int]:
    host, port = address, ""
    bracketed = re.match(r"^\[(?P<host>[^\]]+)\](?::(?P<port>\d+))?$", address)
    if bracketed:
        host, port = bracketed["host"], bracketed["port"] or ""
    elif address.count(":") == 1:
        host, _, port = address.partition(":")
    host = query.pop("host", "") or host or "localhost"  # as libpq: a parameter goes before the authority
    port = query.pop("port", "") or port or str(DEFAULT_PORT)
    if "," in host or "," in port:
        raise ValueError("it names several hosts: a shard is one database on one host")
    if not port.isdigit():
        raise ValueError("its port is not a number")
    return host, int(port)


def redact(text: str) -> str:
    """`text` with the password of every PostgreSQL URL and conninfo in it masked."""
    text = _PASSWORD_IN_TEXT.sub(r"\g<before>***", text)
    return _PARAMETER_IN_TEXT.sub(r"\g<before>***", text)
