"""PostgreSQL URLs: parse, compare, redact."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

_SCHEME = re.compile(r"^(?:postgresql|postgres)(?:\+(?P<driver>\w+))?$")
_SECRET_PARAMETERS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
_ANY_URL = r"postgres(?:ql)?(?:\+\w+)?://"
# Up to the last @ of the word: a password may hold one that was not quoted. Another URL begins a new one.
_PASSWORD_IN_TEXT = re.compile(rf"(?P<before>\b{_ANY_URL}[^\s:/@]*:)(?:(?!{_ANY_URL})\S)+(?=@)")
_PARAMETER_IN_TEXT = re.compile(
    r"(?P<before>\b(?:(?:pg|ssl)?password|oauth_client_secret|scram_(?:client|server)_key)\s*=\s*)"
    r"(?:'(?:[^'\\]|\\.)*'|[^\s&]+)",
    re.IGNORECASE,
)
_PASSWORD_IN_SQL = re.compile(r"(?P<before>\bpassword\s+)(?:E?'(?:[^'\\]|\\.|'')*')", re.IGNORECASE)
_SPEAK_LIBPQ = frozenset({None, "psycopg", "psycopg_async", "psycopg2", "psycopg2cffi"})
# What asyncpg's and pg8000's URLs may carry that means the same to libpq; the rest of theirs it would refuse.
_FOREIGN_PARAMETERS = {"ssl": "sslmode", "sslmode": "sslmode", "application_name": "application_name"}
DEFAULT_PORT = 5432
_HIGHEST_PORT = 65535
_HOST_AFTER_PATH = re.compile(r"@[^/]*/")


@dataclass(frozen=True)
class DatabaseUrl:
    """One database's URL; its `str()` and `repr()` never show a password.

    `host` is a name, an address, a socket directory, or empty for libpq's own socket directory. `driver` is what
    stands behind the plus sign of an SQLAlchemy URL (`asyncpg`, `psycopg`, …), or None.
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
        """The URL that `text` spells, read as libpq reads it: a parameter goes before what stands in front of it.

        Raises ValueError, whose message shows no secret, where it is not a PostgreSQL URL with a database.
        """
        parts = _split(text.strip())
        scheme = _SCHEME.match(parts.scheme)
        if scheme is None:
            raise ValueError("it does not begin with postgresql://")
        # + is a plus sign to libpq; only forms sent by browsers mean a space
        query = dict(parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True))
        authority, _, address = parts.netloc.rpartition("@")
        user, _, password = authority.partition(":")
        host, port = _host_and_port(unquote(address), query)
        database = query.pop("dbname", "") or unquote(parts.path.removeprefix("/"))
        if not database:
            raise ValueError("it names no database: postgresql://host/DATABASE")
        return cls(
            user=query.pop("user", "") or unquote(user) or None,
            password=query.pop("password", "") or unquote(password) or None,
            host=host,
            port=port,
            database=database,
            driver=scheme["driver"],
            parameters=tuple(query.items()),
        )

    @property
    def address(self) -> str:
        """The server this database lives on, as `host:port`: what a connection budget is counted for."""
        return f"{self.host or 'local'}:{self.port}"

    @property
    def identity(self) -> tuple[str, int, str]:
        """Equal for two URLs of the same database, whatever their user, driver and parameters."""
        is_path = self.host.startswith("/")
        host = posixpath.normpath(self.host) if is_path else self.host.lower().rstrip(".")
        return (host, self.port, self.database)

    @property
    def conninfo(self) -> str:
        """The URL with its password, for libpq. Never print it."""
        parameters = self.parameters
        if self.driver not in _SPEAK_LIBPQ:
            known = ((_FOREIGN_PARAMETERS.get(key), value) for key, value in parameters)
            parameters = tuple((key, value) for key, value in known if key is not None)
        return replace(self, parameters=parameters)._render(scheme="postgresql", secrets=True)

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

    def without_secrets(self) -> tuple[DatabaseUrl, dict[str, str]]:
        """The URL as a command line may show it, and the parameters that it may not; the password is in neither."""
        secrets = {key: value for key, value in self.parameters if key in _SECRET_PARAMETERS}
        shown = tuple(each for each in self.parameters if each[0] not in secrets)
        return replace(self, password=None, parameters=shown), secrets

    def with_parameter(self, name: str, value: str) -> DatabaseUrl:
        """The same URL with one more parameter, or another value of it."""
        others = tuple(each for each in self.parameters if each[0] != name)
        return replace(self, parameters=(*others, (name, value)))

    def _render(self, *, scheme: str, secrets: bool) -> str:
        query = [(key, value if secrets or key not in _SECRET_PARAMETERS else "***") for key, value in self.parameters]
        user = quote(self.user, safe="") if self.user else ""
        if self.password:
            user += ":" + (quote(self.password, safe="") if secrets else "***")
        if self.host.startswith("/"):
            address = ""
            query = [("host", self.host), ("port", str(self.port)), *query]
        elif not self.host:
            address = ""
            query = [("port", str(self.port)), *query]
        else:
            host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
            address = f"{host}:{self.port}"
        authority = f"{user}@{address}" if user else address
        tail = "?" + urlencode(query, quote_via=quote, safe="" if secrets else "*/") if query else ""
        return f"{scheme}://{authority}/{quote(self.database, safe='')}{tail}"


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:  # its message may show the password
        raise ValueError(_QUOTE) from None
    cut_short = _HOST_AFTER_PATH.search(parts.path) or (not parts.path and "@" in parts.query)
    if parts.fragment or ("@" not in parts.netloc and cut_short):
        raise ValueError(_QUOTE)
    return parts


_QUOTE = "quote special characters of the user and password as %XX: # is %23, / is %2F, : is %3A, ? is %3F, @ is %40"


def _host_and_port(address: str, query: dict[str, str]) -> tuple[str, int]:
    host, port = address, ""
    bracketed = re.match(r"^\[(?P<host>[^\]]+)\](?::(?P<port>\d+))?$", address)
    if bracketed:
        host, port = bracketed["host"], bracketed["port"] or ""
    elif address.count(":") == 1:
        host, _, port = address.partition(":")
    host = query.pop("host", "") or host
    port = query.pop("port", "") or port or str(DEFAULT_PORT)
    if "," in host or "," in port:
        raise ValueError("it names several hosts: a shard is one database on one host")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
        raise ValueError("its port is not a number from 1 to 65535")
    return host, int(port)


def redact(text: str) -> str:
    """`text` with the password of every PostgreSQL URL, conninfo and SQL statement in it masked."""
    for pattern in (_PASSWORD_IN_TEXT, _PARAMETER_IN_TEXT, _PASSWORD_IN_SQL):
        text = pattern.sub(r"\g<before>***", text)
    return text
