"""Values of every type a column can have; where they stand side by side, telling them apart takes most care."""

from __future__ import annotations

import random
from typing import Final

_CHANCE: Final = random.Random(5)  # noqa: S311 repeatable, not secret
LONG: Final = _CHANCE.randbytes(30_000).hex()  # out of line, since it can't be compressed
_FEW: Final = "well " * 20_000  # compressed

# Types that none can make a value of: for them the server keeps statistics, trees, and pages of indexes.
NO_VALUES: Final = frozenset(
    {
        "gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_mcv_list",
        "pg_ndistinct", "pg_node_tree",
    }
)  # fmt: skip

BUILT_IN: Final[dict[str, tuple[str, ...]]] = {
    "aclitem": ("postgres=r/postgres", "postgres=rw/postgres", "=r/postgres"),
    "bit": ("101", "100"),
    "boolean": ("t", "f"),
    "box": ("((1,1),(0,0))", "((2,0.5),(0,0))", "((0,0),(0,0))", "((0,-0),(-0,0))"),
    "bytea": ("", "\\x00", "\\x0001", f"\\x{LONG}", "\\x" + "41" * 100_000, "it's"),
    '"char"': ("a", "", "\\377"),
    "character": ("a", "b  ", "", "äöü'"),
    "character varying": ("a", "a ", "", "x" * 300),
    "cid": ("0", "4294967295"),
    "cidr": ("10.0.0.0/8", "10.0.0.0/16", "2001:db8::/32"),
    "circle": ("<(0,0),1>", "<(1,0),1>", "<(0,0),2>"),
    "date": ("2024-02-29", "infinity", "-infinity", "4714-11-24 BC", "0001-01-01 BC", "5874897-12-31"),
    "real": ("0", "-0", "NaN", "Infinity", "-Infinity", "1.1", "1.1000001", "1e-45", "3.4028235e38"),
    "double precision": ("0", "-0", "NaN", "Infinity", "-Infinity", "0.3", "0.30000000000000004", "5e-324"),
    "inet": ("10.0.0.1", "10.0.0.1/24", "10.0.0.1/25", "::1", "::ffff:10.0.0.1"),
    "smallint": ("0", "-32768", "32767"),
    "int2vector": ("", "1 2", "1 2 3"),
    "integer": ("0", "-2147483648", "2147483647"),
    "bigint": ("0", "-9223372036854775808", "9223372036854775807"),
    "interval": (
        "1 day", "24:00:00", "30 days", "1 mon", "-1 mon +30 days", "00:00:00.000001", "-00:00:00.000001",
        "178000000 years", "1 year -13 mons",
    ),
    "json": ('{"a":1}', '{"a": 1}', '{"a":1,"a":1}', "null", '"\\u00e9"', '"é"'),
    "jsonb": ('{"a": 1}', '{"a": 1.0}', '{"a": 1.00}', "null", "{}", "[]", '"é"', '{"b": [1, {"c": null}]}'),
    "jsonpath": ("$", "$.a", "$.a[*] ? (@ > 1)", "strict $.a"),
    "line": ("{1,2,3}", "{2,4,6}", "{1,2,4}"),
    "lseg": ("[(0,0),(1,0)]", "[(1,0),(0,0)]", "[(0,1),(0,0)]"),
    "macaddr": ("08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    "macaddr8": ("08:00:2b:ff:fe:01:02:03", "08:00:2b:01:02:03:04:05"),
    "money": ("0", "-92233720368547758.08", "92233720368547758.07", "1000.50"),
    "name": ("a", "A", "x" * 63, 'it"s'),
    "numeric": (
        "1", "1.0", "1.00", "0", "0.0", "NaN", "Infinity", "-Infinity", "1e-1000", "-1", "-1.0",
        "123456789012345678901234567890.12345678901234567890",
    ),
    "oid": ("0", "4294967295"),
    "oidvector": ("", "1 2", "1 2 3"),
    "path": ("[(0,0),(1,1)]", "((0,0),(1,1))", "[(0,0),(2,2)]", "[(1,1),(0,0)]"),
    "pg_lsn": ("0/0", "FFFFFFFF/FFFFFFFF"),
    "pg_snapshot": ("10:20:10,14,15", "10:20:10,14"),
    "point": ("(0,0)", "(-0,0)", "(0,1)", "(1e-300,0)", "(NaN,Infinity)"),
    "polygon": ("((0,0),(1,0),(1,1))", "((1,0),(1,1),(0,0))", "((0,0),(1,0),(1,2))"),
    "refcursor": ("a", "A"),
    "regclass": ("public.orgs", "pg_class", "apart.orgs", "-", "123456789"),
    "regcollation": ('"C"', "public.blind", "public.other"),
    "regconfig": ("simple", "public.words"),
    "regdictionary": ("simple", "public.word"),
    "regnamespace": ("public", "apart"),
    "regoper": ("public.===", "pg_catalog.!!", "0"),
    "regoperator": ("public.===(integer,integer)", "+(integer,integer)", "0"),
    "regproc": ("public.twice", "pg_catalog.now", "-"),
    "regprocedure": ("public.twice(integer)", "pg_catalog.now()", "apart.twice(integer)"),
    "regrole": ("postgres", "pg_read_all_data"),
    "regtype": ("public.mood", "integer", "public.mood[]", "-"),
    "text": (
        "", " ", "a", "A", "\u00e9", "e\u0301", "\\", "\\N", "\\.", "a\tb\nc\r", "'\"{},()", _FEW, LONG, "%s %% {}",
    ),
    "tid": ("(0,1)", "(4294967295,65535)"),
    "time without time zone": ("00:00", "24:00", "23:59:59.999999", "00:00:00.000001"),
    "timestamp without time zone": (
        "2024-02-29 12:00:00.000001", "infinity", "-infinity", "4714-11-24 00:00:00 BC", "0001-01-01 00:00:00 BC",
        "294276-12-31 23:59:59.999999",
    ),
    "timestamp with time zone": (
        "2024-02-29 12:00:00.000001+05:30", "infinity", "-infinity", "4714-11-24 00:00:00+00 BC",
        "2024-10-27 00:30:00+00", "2024-10-27 01:30:00+00",
    ),
    "time with time zone": ("12:00+00", "13:00+01", "12:00:00.000001-15:59", "24:00+00"),
    "tsquery": ("'a' & 'b'", "'b' & 'a'", "'a' <-> 'b'", "'a':*A", ""),
    "tsvector": ("'a' 'b'", "'a':1 'b':2", "'a':1A 'b':2", "", "'it''s':3"),
    "txid_snapshot": ("10:20:10,14,15", "10:20:10"),
    "uuid": ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "bit varying": ("", "1", "10", "0001"),
    "xid": ("0", "4294967295"),
    "xid8": ("0", "18446744073709551615"),
    "xml": ("<a/>", "<a></a>", "<a> </a>", "a<b/>c", '<?xml version="1.1"?><a/>', "<!-- it's --><a>é</a>"),
}  # fmt: skip

# Where a name alone is a column of one character, or one bit.
DECLARED: Final = {"bit": "bit(3)", "character": "character(4)"}

# With modifiers, from extensions, and the user's own.
MADE: Final[dict[str, tuple[str, ...]]] = {
    "bpchar": ("a", "a ", "a  ", ""),
    "numeric(6,2)": ("1", "1.01", "NaN"),
    "varchar(3)": ("a", "a  ", "äöü"),
    "timestamp(3)": ("2024-01-01 00:00:00.001", "2024-01-01 00:00:00.002"),
    "interval(2)": ("0.01 s", "0.02 s"),
    'text COLLATE "C"': ("a", "A"),
    "text COLLATE public.blind": ("a", "A", "á", "b"),
    "public.citext": ("a", "A", "b"),
    "public.hstore": ("", "a=>1", "a=>NULL", 'a=>"NULL"', '"it\'s"=>"\\""'),
    "public.ltree": ("a", "a.b", "A.b"),
    "public.lquery": ("a.*", "a.*{2}"),
    "public.ltxtquery": ("a & b", "b & a"),
    "public.mood": ("sad", "so so", "Happy", "{}", "it's"),
    "public.lossy": ("one", "two"),
    "public.tiny": ("1", "2"),
    "public.tinier": ("1", "2"),
    "public.moody": ("sad", "Happy"),
    "public.caseless": ("a", "A"),
    "public.codes": ("{a,A}", "{A,a}"),
    "public.pair": ('(1,"a b",sad)', "(1,,)", '(1,"",Happy)', "(,,)", '(1,"a,b()""\\\\",sad)'),
    "public.nested": ('("(1,a,sad)",{sad})', '("(1,a,sad)",{Happy})', '("(1,a,Happy)",{})'),
    "public.range_of_moods": ("[sad,Happy)", "[sad,Happy]", "empty", "(,)"),
    "public.multirange_of_moods": ("{[sad,sad]}", "{[sad,Happy]}", "{}"),
    "public.range_of_floats": ("[0,1)", "[-0,1)", "empty"),
    "int4range": ("[1,5)", "[1,6)", "empty", "(,)"),
    "int8range": ("[1,5)", "[1,)"),
    "numrange": ("[1.0,2)", "[1.00,2)", "[1.0,2]", "empty"),
    "tsrange": ("[-infinity,2024-01-01)", "(,2024-01-01)"),
    "tstzrange": ("[2024-01-01 00:00+00,infinity)", "[2024-01-01 00:00+00,)"),
    "daterange": ("[2024-01-01,2024-02-01)", "[0044-03-15 BC,2024-02-01)"),
    "int4multirange": ("{[1,2),[5,6)}", "{[1,6)}", "{}"),
    "nummultirange": ("{[1.0,2)}", "{[1.00,2)}"),
    "datemultirange": ("{}", "{(,)}"),
    "integer[]": ("{}", "{1,2}", "[0:1]={1,2}", "{{1,2}}", "{NULL}"),
    "text[]": ("{}", "{NULL}", '{"NULL"}', '{""}', '{"a,b","{}","\\"","\\\\"}', '{" "}'),
    "public.mood[]": ("{sad}", "{Happy}", '{{sad},{"it\'s"}}'),
    "public.pair[]": ('{"(1,a,sad)"}', '{"(1,a,Happy)"}', "{NULL}"),
    "public.moody[]": ("{sad}", "{Happy}"),
    "public.range_of_moods[]": ('{"[sad,Happy)"}', '{"[sad,Happy]"}'),
    "public.citext[]": ("{a}", "{A}"),
    "daterange[]": ('{"[2024-01-01,2024-02-01)"}', '{"empty"}'),
}

# What the types above are, to be made in any order on a shard that has other types besides.
TYPES: Final = (
    "CREATE TYPE public.mood AS ENUM ('sad', 'so so', 'Happy', '{}', 'it''s', 'more')",
    "CREATE TYPE public.lossy AS ENUM ('one', 'two')",
    "CREATE DOMAIN public.tiny AS smallint",
)
TYPES_ON_TYPES: Final = (
    "CREATE FUNCTION public.forget(public.lossy) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'all the same' $$",
    "CREATE CAST (public.lossy AS text) WITH FUNCTION public.forget(public.lossy)",
    "CREATE DOMAIN public.tinier AS public.tiny CHECK (VALUE < 10)",
    "CREATE DOMAIN public.moody AS public.mood",
    "CREATE DOMAIN public.citext_1 AS public.citext",
    "CREATE DOMAIN public.caseless AS public.citext_1",
    "CREATE DOMAIN public.codes AS public.citext[]",
    "CREATE TYPE public.pair AS (n integer, t text, m public.mood)",
    "CREATE TYPE public.nested AS (p public.pair, m public.mood[])",
    "CREATE TYPE public.range_of_moods AS RANGE (subtype = public.mood, "
    "multirange_type_name = public.multirange_of_moods)",
    "CREATE TYPE public.range_of_floats AS RANGE (subtype = double precision)",
    "CREATE TEXT SEARCH CONFIGURATION public.words (COPY = simple)",
    "CREATE TEXT SEARCH DICTIONARY public.word (TEMPLATE = simple)",
    "CREATE FUNCTION public.twice(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'",
    "CREATE FUNCTION apart.twice(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'",
    "CREATE FUNCTION public.same(integer, integer) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 = $2'",
    "CREATE OPERATOR public.=== (LEFTARG = integer, RIGHTARG = integer, FUNCTION = public.same)",
)
# Names of objects that a column may hold, made in another order on each shard, so that their OIDs differ.
OBJECTS: Final = (
    "CREATE SCHEMA apart",
    "CREATE EXTENSION citext",
    "CREATE EXTENSION hstore",
    "CREATE EXTENSION ltree",
    'CREATE COLLATION public.other FROM "C"',
)

# Types of keys: their column, four values, two more that come later, and another spelling of the second, or None.
KEYS: Final[dict[str, tuple[str, tuple[str, str, str, str, str, str], str | None]]] = {
    "text": ("text", ("it's", 'say "x"', "\\", "%s{}", "é\t\n", "{a,b}"), None),
    "empty": ("varchar(20)", ("", " ", "a", "a ", "(,)", "NULL"), None),
    "long": ("text", tuple(letter * 2_000 for letter in "abcdef"), None),  # type: ignore[dict-item]
    "fixed": ("character(3)", ("a", "b", "c", "d", "e", "f"), None),
    "citext": ("public.citext", ("a", "b", "c", "d", "e", "f"), "B"),
    "caseless": ("public.caseless", ("a", "b", "c", "d", "e", "f"), "B"),
    "blind": ("text COLLATE public.blind", ("a", "b", "c", "d", "e", "f"), "B"),
    "ltree": ("public.ltree", ("a", "a.b", "a.c", "a.b.c", "b", "c"), None),
    "numeric": ("numeric", ("0", "1.0", "NaN", "-Infinity", "1e-30", "-1"), "1.00"),
    "float": ("double precision", ("1", "0", "NaN", "-Infinity", "0.1", "5e-324"), "-0"),
    "bytea": ("bytea", ("\\x", "\\x00", "\\x0000", "\\xff", "\\x27", "\\x5c"), None),
    "timestamptz": (
        "timestamptz",
        ("2024-01-01", "infinity", "-infinity", "0044-03-15 BC", "2024-10-27 00:30+00", "2024-10-27 01:30+00"),
        None,
    ),
    "interval": ("interval", ("1 mon", "1 day", "00:00", "1 year", "-1 day", "1 s"), "24:00:00"),
    "enum": ("public.mood", ("sad", "so so", "Happy", "{}", "it's", "more"), None),
    "domain": ("public.tinier", ("1", "2", "3", "4", "5", "6"), None),
    "pair": ("public.pair", ("(1,a,sad)", "(1,,)", "(2,,)", "(3,,)", '(4,"",)', "(5,,)"), None),
    "array": ("public.mood[]", ("{}", "{sad}", "{Happy}", "{NULL}", "{sad,sad}", "[0:0]={sad}"), None),
    "range": ("numrange", ("empty", "[1.0,2)", "(,)", "[0,1)", "[0,)", "(,0)"), "[1.00,2)"),
    "inet": ("inet", ("10.0.0.1", "10.0.0.1/24", "::1", "10.0.0.2", "10.0.0.3", "10.0.0.4"), None),
    "jsonb": ("jsonb", ("{}", '{"a": 1.0}', "null", "[]", '""', "0"), '{"a": 1.00}'),
    "uuid": ("uuid", tuple(f"00000000-0000-0000-0000-00000000000{n}" for n in range(6)), None),  # type: ignore[dict-item]
    "name": ("name", ("a", "b", "it's", "d", "e", "f"), None),
    "bit": ("varbit", ("", "0", "00", "1", "10", "100"), None),
    "date": ("date", ("infinity", "-infinity", "2024-01-01", "0044-03-15 BC", "2024-01-02", "2024-01-03"), None),
}

# A collation that takes a, A and á for equal, where the server was built with ICU; else one of that name.
BLIND: Final = "CREATE COLLATION public.blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
NOT_BLIND: Final = 'CREATE COLLATION public.blind FROM "C"'
