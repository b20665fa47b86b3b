"""PostgreSQL URLs: read as libpq reads them, compared as databases, shown without secrets."""

from __future__ import annotations

import pickle
from dataclasses import replace

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from shardwright.dsn import DatabaseUrl, redact

few = settings(max_examples=40)
WORDS = st.text(min_size=1, max_size=20).filter(lambda text: "\x00" not in text and text.isprintable())
SECRETS = st.text(alphabet="abcXYZ019@:/?#[]!$&'()*+,;=% \"\\{}<>|^`~ßé✓", min_size=8, max_size=20)
URLS = st.builds(
    DatabaseUrl,
    user=WORDS,
    password=SECRETS,
    host=st.sampled_from(["localhost", "::1", "db.example", "/var/run/postgresql", "/tmp/a b", ""]),  # noqa: S108
    port=st.integers(1, 65535),
    database=WORDS,
    driver=st.sampled_from([None, "psycopg", "asyncpg"]),
)


@few
@given(URLS)
def test_what_is_rendered_is_read_again(url: DatabaseUrl) -> None:
    """A URL survives being written and read, whatever characters its parts have."""
    assert DatabaseUrl.parse(url.sqlalchemy()) == url


@few
@given(URLS)
def test_libpq_reads_the_same(url: DatabaseUrl) -> None:
    """libpq finds the user, password and database in our conninfo that we have in the fields."""
    found = psycopg.conninfo.conninfo_to_dict(url.conninfo)
    assert (found["user"], found["password"], found["dbname"]) == (url.user, url.password, url.database)
    assert (found.get("host", ""), found["port"]) == (url.host, str(url.port))


@few
@given(URLS)
def test_sqlalchemy_reads_the_same(url: DatabaseUrl) -> None:
    """SQLAlchemy finds the same parts in the URL that the application's env.py gets."""
    found = make_url(url.sqlalchemy("psycopg"))
    assert (found.username, found.password, found.database) == (url.user, url.password, url.database)


@few
@given(URLS)
def test_nothing_that_is_printed_shows_the_password(url: DatabaseUrl) -> None:
    """repr, str and the redacted URL leave the password out, and redact() masks it in any text."""
    other = replace(url, password="another")
    assert repr(url) == repr(other)
    assert str(url) == url.redacted == str(other)
    assert redact(f"can't connect to {url.conninfo}") == redact(f"can't connect to {other.conninfo}")


@few
@given(st.text(alphabet="abcXYZ019@:/?#!$&()*+,;=%", min_size=8, max_size=20))
def test_a_password_that_was_not_quoted_is_masked_too(password: str) -> None:
    """redact() takes everything up to the last @ for the password, or what follows an @ in it would show."""
    assert redact(f"no: postgresql://app:{password}@host/db, sorry") == "no: postgresql://app:***@host/db, sorry"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host=x password=hunter2 dbname=y", "host=x password=*** dbname=y"),
        (r"host=x password='hunt\'er 2' dbname=y", "host=x password=*** dbname=y"),
        ("postgresql://h/db?password=hunter2&x=1", "postgresql://h/db?password=***&x=1"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
        ("ALTER ROLE app PASSWORD 'hunt''er2' LOGIN", "ALTER ROLE app PASSWORD *** LOGIN"),
        ('password authentication failed for user "app"', 'password authentication failed for user "app"'),
        ("postgresql://a:x@h/1,postgresql://b:y@h/2", "postgresql://a:***@h/1,postgresql://b:***@h/2"),
        ("postgresql://app@host:5432/db and me@example", "postgresql://app@host:5432/db and me@example"),
    ],
)
def test_redact_masks_what_is_secret_and_nothing_else(text: str, expected: str) -> None:
    """Conninfo, parameters, variables and SQL lose their passwords; the rest of the text stays."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://HOST.example/db",
        "postgresql+asyncpg://other:pw@host.example:5432/db?ssl=require",
        "postgres://host.example./db?application_name=x",
        "postgresql:///db?host=host.example&port=5432",
        "postgresql://elsewhere:1/other?host=host.example&port=5432&dbname=db",
    ],
)
def test_the_same_database_under_other_urls_is_known_as_the_same(text: str) -> None:
    """User, driver, parameters, case and the way an address is written make no other database."""
    assert DatabaseUrl.parse(text).identity == DatabaseUrl.parse("postgresql://host.example/db").identity


def test_socket_directories_are_compared_as_paths() -> None:
    """/a and /a/ are one directory, /a and /A are two."""
    one, same, other = (DatabaseUrl.parse(f"postgresql:///db?host={path}") for path in ("/run/a", "/run//a/", "/run/A"))
    assert one.identity == same.identity
    assert one.identity != other.identity


def test_parameters_go_before_what_stands_in_front_of_them() -> None:
    """As in libpq; or a check would look at one database and a statement go to another."""
    url = DatabaseUrl.parse("postgresql://a:p@h/one?dbname=two&user=b&password=q&host=%2Frun&port=6")
    assert (url.user, url.password, url.host, url.port, url.database) == ("b", "q", "/run", 6, "two")
    assert "one" not in url.conninfo
    assert url.with_database("three").database == "three"
    assert "two" not in url.with_database("three").conninfo


def test_a_plus_sign_is_a_plus_sign() -> None:
    """libpq does not take + for a space, so neither do we, in either direction."""
    url = DatabaseUrl.parse("postgresql://h/db?password=a+b&options=-c%20geqo%3Doff")
    assert url.password == "a+b"
    assert psycopg.conninfo.conninfo_to_dict(url.conninfo)["options"] == "-c geqo=off"


def test_parameters_of_another_driver_do_not_reach_libpq() -> None:
    """An asyncpg URL goes to asyncpg as it is, and to libpq with what libpq understands."""
    url = DatabaseUrl.parse("postgresql+asyncpg://h/db?ssl=require&prepared_statement_cache_size=0")
    assert url.conninfo.endswith("/db?sslmode=require")
    assert url.sqlalchemy().endswith("/db?ssl=require&prepared_statement_cache_size=0")


def test_a_url_without_a_host_is_the_local_socket() -> None:
    """postgresql:///db leaves the socket directory to libpq, as psql and the application's own driver do."""
    url = DatabaseUrl.parse("postgresql:///db")
    assert (url.host, url.address) == ("", "local:5432")
    assert "host" not in psycopg.conninfo.conninfo_to_dict(url.conninfo)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("mysql://app:hunter2@h/db", "postgresql://"),
        ("host=h password=hunter2", "postgresql://"),
        ("", "postgresql://"),
        ("postgresql://app:hunter2@h", "DATABASE"),
        ("postgresql://app:hunter2@h/", "DATABASE"),
        ("postgresql://app:hunter2@h,i/db", "several hosts"),
        ("postgresql://app:hunter2@h:x/db", "port"),
        ("postgresql://app:hunter2@h:70000/db", "port"),
        ("postgresql://app:hunter2#@h/db", "%23"),
        ("postgresql://app:hunter2/x@h/db", "%2F"),
        ("postgresql://app:hunter2?x@h/db", "%3F"),
        ("postgresql://app:hunter2[@h/db", "%XX"),
    ],
)
def test_what_is_no_url_is_refused_with_the_reason_and_without_the_secret(text: str, word: str) -> None:
    """The message says what is missing or must be quoted, and never repeats the URL."""
    with pytest.raises(ValueError) as refused:
        DatabaseUrl.parse(text)
    assert word in str(refused.value)
    assert "hunter2" not in repr(refused.value)


def test_a_url_travels_to_worker_processes_whole() -> None:
    """Pickled and back, it has its password."""
    url = DatabaseUrl.parse("postgresql://a:secret@h/db?sslmode=require")
    assert pickle.loads(pickle.dumps(url)) == url  # noqa: S301 our own bytes
