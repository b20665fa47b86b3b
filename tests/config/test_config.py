"""shardwright.toml: what it may say, and how each thing that it may not is answered."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright import errors
from shardwright.config import Config, FleetConfig, find_file, format_duration, load, parse, parse_duration

FLEET = '[fleet]\ncontrol = "embedded"\n'
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "shardwright.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def refusal(file: Path) -> errors.ConfigError:
    with pytest.raises(errors.ConfigError) as refused:
        load(file)
    return refused.value


def test_everything_can_be_left_out_but_the_control_database(write: Write) -> None:
    """The defaults are those of the documentation; what is not said is production."""
    config = load(write(FLEET))
    assert (config.fleet.environment, config.is_disposable, config.is_embedded) == ("production", False, True)
    assert (config.fleet.set, config.migrations) == ("main", config.project / "migrations")
    assert config.limits.lock_timeout == timedelta(milliseconds=100)
    assert config.file.is_absolute()


def test_all_that_can_be_said_is_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables come from the environment, shards keep their order, labels their values."""
    monkeypatch.setenv("PASSWORD", "hunter2")
    text = """
        [fleet]
        control = "postgresql://ops:${PASSWORD}@control/ledger"
        [shards.b]
        url = "postgresql://app:${PASSWORD}@b/app"
        [shards."a.1"]
        url = "postgresql://app@a/app"
        labels = { region = "eu" }
        [tenants]
        root = "organizations"
        key = "organization_id"
        shared = ["plans"]
        [limits]
        statement_timeout = "1.5h"
    """
    config = load(write(text))
    assert [(shard.name, dict(shard.labels)) for shard in config.shards] == [("b", {}), ("a.1", {"region": "eu"})]
    assert config.shards[0].url.password == "hunter2"
    assert config.limits.statement_timeout == timedelta(minutes=90)
    assert "hunter2" not in repr(config)


GREEN = '[bluegreen.shards.g]\nurl = "postgresql://h/g"\n'


def test_a_green_set_is_read_beside_the_shards(write: Write) -> None:
    """Its shards are no shards of the fleet; what is not said of it is the default, and as [tenants] says."""
    blue = '[shards.a]\nurl = "postgresql://h/a"\n[tenants]\nroot = "o"\nkey = "k"\nshared = ["plans"]\n'
    config = load(write(FLEET + blue + GREEN))
    assert ([each.name for each in config.shards], [each.name for each in config.green]) == (["a"], ["g"])
    assert config.bluegreen is not None
    assert (config.bluegreen.revision, config.bluegreen.placement, config.bluegreen.tables) == ("head", "pairs", {})
    assert config.green_tenants == config.tenants
    fleet = FleetConfig(config, config.shards[0].url, config.shards, config.green)
    assert [each.name for each in fleet.every] == ["a", "g"]
    assert fleet.select(None) == config.shards
    assert load(write(FLEET + blue)).green == ()


def test_all_that_can_be_said_of_green_is_read(write: Write) -> None:
    """Shapes with the tables they are made from, pins, and other words for tenants."""
    text = (
        FLEET
        + """
        [tenants]
        root = "organizations"
        key = "organization_id"
        placement = "modulo"
        ignored = ["audit_*"]
        [bluegreen]
        revision = "4f2a"
        placement = "least_loaded"
        [bluegreen.shards.g]
        url = "postgresql://h/g"
        labels = { region = "eu" }
        [bluegreen.pins]
        acme = "g"
        [bluegreen.tenants]
        root = "accounts"
        key = "account_id"
        [bluegreen.tables.people]
        select = "SELECT id, first || last AS name FROM users"
        from = { users = ["id"], "audit.log" = ["user_id", "at"] }
        [bluegreen.back.users]
        select = "SELECT id, name AS first FROM people"
        from = { people = ["id"] }
        """
    )
    config = load(write(text))
    green = config.bluegreen
    assert green is not None
    assert (green.revision, green.placement, green.pins) == ("4f2a", "least_loaded", {"acme": "g"})
    assert green.tables["people"].from_ == {"users": ("id",), "audit.log": ("user_id", "at")}
    assert green.back["users"].select == "SELECT id, name AS first FROM people"
    tenants = config.green_tenants
    assert tenants is not None
    assert (tenants.root, tenants.key, tenants.placement, tenants.ignored) == ("accounts", "account_id", "modulo", ())
    assert config.tenants is not None
    assert config.tenants.root == "organizations"


SHAPE = GREEN + "[bluegreen.tables.p]\nselect = 'SELECT 1'\n"
WRONG = [
    # what is in the file, the error, the key it names, a word of the cure
    (FLEET + 'contrl = "x"', errors.UnknownKey, "fleet.contrl", "did you mean control?"),
    (FLEET + "[limit]\nlock_tries = 3", errors.UnknownKey, "limit", "did you mean limits?"),
    ('environment = "test"\n' + FLEET, errors.UnknownKey, "environment", "did you mean fleet.environment?"),
    (FLEET + '[shards.a]\nurl = "postgresql://h/a"\nlables = {}', errors.UnknownKey, "shards.a.lables", "labels?"),
    ("", errors.MissingKey, "fleet", "[fleet]"),
    ("[fleet]\nset = 'main'", errors.MissingKey, "fleet.control", "CONTROL_URL"),
    (FLEET + "[shards.a]\nlabels = {}", errors.MissingKey, "shards.a.url", "add shards.a.url"),
    (FLEET + "[tenants]\nroot = 'o'", errors.MissingKey, "tenants.key", "add tenants.key"),
    ('[fleet]\ncontrol = "${NOT_SET}"', errors.MissingVariable, "fleet.control", "export NOT_SET="),
    ('[fleet]\ncontrol = "${EMPTY}"', errors.MissingVariable, "fleet.control", "is empty"),
    ('[fleet]\ncontrol = "${2X}"', errors.BadValue, "fleet.control", "${NAME}"),
    ('[fleet]\ncontrol = "$CONTROL_URL"', errors.BadValue, "fleet.control", "${NAME}"),
    ('[fleet]\ncontrol = "mysql://app:hunter2@h/db"', errors.BadValue, "fleet.control", "postgresql://"),
    ('[fleet]\ncontrol = "host=h password=hunter2"', errors.BadValue, "fleet.control", "postgresql://"),
    ("[fleet]\ncontrol = 5", errors.BadValue, "fleet.control", "string"),
    (FLEET + 'environment = "prod"', errors.BadValue, "fleet.environment", "'production', 'staging'"),
    (FLEET + 'seed = "myapp.seeds"', errors.BadValue, "fleet.seed", "package.module:function"),
    (FLEET + 'set = "a b"', errors.BadValue, "fleet.set", "letters, digits"),
    (FLEET + 'version_table = "a b"', errors.BadValue, "fleet.version_table", "schema.table"),
    (FLEET + 'migrations = ""', errors.BadValue, "fleet.migrations", "not be empty"),
    ('fleet = "main"', errors.BadValue, "fleet", "[fleet]"),
    (FLEET + '[shards]\nurl = "postgresql://app:hunter2@h/a"', errors.BadValue, "shards.url", "[shards.url]"),
    ("shards = []\n" + FLEET, errors.BadValue, "shards", "[shards.NAME]"),
    (FLEET + '[shards.a]\nurl = "postgresql://h/a"\nlabels = { canary = true }', errors.BadValue, "canary", "quotes"),
    (FLEET + '[shards.a]\nurl = "postgresql://h/a"\nlabels = "eu"', errors.BadValue, "shards.a.labels", "region"),
    (FLEET + '[shards."a b"]\nurl = "postgresql://h/a"', errors.BadValue, 'shards."a b"', "letters, digits"),
    (FLEET + '[shards."-a"]\nurl = "postgresql://h/a"', errors.BadValue, "shards.-a", "letters, digits"),
    (FLEET + '[shards."a\\n"]\nurl = "postgresql://h/a"', errors.BadValue, r'shards."a\n"', "letters, digits"),
    (FLEET + '[shards."\\u001b[2J"]\nurl = "postgresql://h/a"', errors.BadValue, r'"\u001b[2J"', "letters, digits"),
    (FLEET + '[shards."a,b"]\nurl = "postgresql://h/a"', errors.BadValue, 'shards."a,b"', "letters, digits"),
    (FLEET + f'[shards.{"a" * 64}]\nurl = "postgresql://h/a"', errors.BadValue, "aaaa", "letters, digits"),
    (FLEET + "[tenants]\nroot='o'\nkey='k'\nshared='plans'", errors.BadValue, "tenants.shared", "list"),
    (FLEET + "[tenants]\nroot='o'\nkey='k'\nshared=[1]", errors.BadValue, "tenants.shared[0]", "quotes"),
    (FLEET + '[limits]\nlock_timeout = "5 minutes"', errors.BadValue, "limits.lock_timeout", '"30min"'),
    (FLEET + "[limits]\nlock_timeout = 5", errors.BadValue, "limits.lock_timeout", '"30min"'),
    (FLEET + '[limits]\nlock_timeout = "0s"', errors.BadValue, "limits.lock_timeout", "1ms"),
    (FLEET + '[limits]\nconnections_per_host = "20"', errors.BadValue, "limits.connections_per_host", "quotes"),
    (FLEET + "[limits]\nconnections_per_host = 1", errors.BadValue, "limits.connections_per_host", "3"),
    (FLEET + "[bluegreen]", errors.MissingKey, "bluegreen.shards", "[bluegreen.shards.NAME]"),
    (FLEET + "[bluegreen.shards]", errors.BadValue, "bluegreen.shards", "not be empty"),
    (FLEET + "[bluegrene]", errors.UnknownKey, "bluegrene", "did you mean bluegreen?"),
    (FLEET + GREEN + "[bluegreen]\nrevison = 'x'", errors.UnknownKey, "bluegreen.revison", "did you mean revision?"),
    (FLEET + GREEN + "lables = {}", errors.UnknownKey, "bluegreen.shards.g.lables", "did you mean labels?"),
    (FLEET + GREEN + "[bluegreen.shrads]", errors.UnknownKey, "bluegreen.shrads", "did you mean shards?"),
    (FLEET + SHAPE + "form = {}\nfrom = {u = ['id']}", errors.UnknownKey, "bluegreen.tables.p.form", "mean from?"),
    (FLEET + SHAPE, errors.MissingKey, "bluegreen.tables.p.from", "add bluegreen.tables.p.from"),
    (FLEET + SHAPE + "from = {}", errors.BadValue, "bluegreen.tables.p.from", "not be empty"),
    (FLEET + SHAPE + "from = {u = []}", errors.BadValue, "bluegreen.tables.p.from.u", "at least one"),
    (FLEET + SHAPE + "from = {u = 'id'}", errors.BadValue, "bluegreen.tables.p.from.u", "list"),
    (FLEET + SHAPE + "from = 'u'", errors.BadValue, "bluegreen.tables.p.from", "from is a table"),
    (FLEET + GREEN + "[bluegreen.tables]\np = 'x'", errors.BadValue, "bluegreen.tables.p", "[bluegreen.tables.p]"),
    (FLEET + GREEN + "[bluegreen]\nback = 'x'", errors.BadValue, "bluegreen.back", "[bluegreen.back.NAME]"),
    (FLEET + GREEN + "[bluegreen]\nplacement = 'x'", errors.BadValue, "bluegreen.placement", "'pairs'"),
    (FLEET + GREEN + "[bluegreen.pins]\nacme = 'a'", errors.BadValue, "bluegreen.pins.acme", "there are: g"),
    (FLEET + GREEN + "[bluegreen.tenants]\nroot='a'\nkey='b'\nplacement='modulo'", errors.UnknownKey, "placement", ""),
    (FLEET + '[bluegreen.shards."a b"]\nurl = "postgresql://h/a"', errors.BadValue, '"a b"', "letters, digits"),
    (
        FLEET + GREEN + '[shards.g]\nurl = "postgresql://h/a"',
        errors.BadValue,
        "bluegreen.shards.g",
        "shards.g has this",
    ),
    (
        FLEET + GREEN + '[shards.a]\nurl = "postgresql://h/g"',
        errors.DuplicateDatabase,
        "bluegreen.shards.g.url",
        "shards.a.url",
    ),
    ("[fleet]\ncontrol = \n", errors.ConfigUnreadable, "", "line 2"),
    (FLEET + FLEET, errors.ConfigUnreadable, "", "line 3"),
]


@pytest.mark.parametrize(("text", "kind", "key", "cure"), WRONG, ids=[f"{w[1].__name__} {w[2]}" for w in WRONG])
def test_each_mistake_is_answered_with_file_key_and_cure(
    text: str, kind: type[errors.ConfigError], key: str, cure: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the message needs no documentation; and no message shows a secret."""
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("EMPTY", "")
    error = refusal(write(text))
    said = f"{error} ({error.hint})"
    assert type(error) is kind
    assert error.exit_code == 78
    assert (str(write(text)) in said, key in said, cure in said) == (True, True, True), said
    assert error.hint
    assert "hunter2" not in "".join(traceback.format_exception(error))


def test_all_mistakes_are_named_at_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody mends a file mistake by mistake: each is named with its cure, and none hides another."""
    monkeypatch.delenv("NOT_SET", raising=False)
    error = refusal(write('[fleet]\ncontrol = "${NOT_SET}"\nsed = "x"\n[limits]\nlock_timeout = "soon"'))
    assert isinstance(error, errors.ConfigErrors)
    assert {problem.key for problem in error.problems} == {"fleet.control", "fleet.sed", "limits.lock_timeout"}
    assert str(error).count("\n") == 2
    assert error.exit_code == 78


@pytest.mark.parametrize(
    "twin",
    [
        "postgresql://other:secret@HOST/app",
        "postgresql+asyncpg://host:5432/app?ssl=require",
        "postgres:///other?host=host&dbname=app",
    ],
)
def test_one_database_cannot_be_two_shards(twin: str, write: Write) -> None:
    """Under another user, driver or parameter it would be worked on twice."""
    text = f'{FLEET}[shards.a]\nurl = "postgresql://app@host/app"\n[shards.b]\nurl = "{twin}"'
    error = refusal(write(text))
    assert isinstance(error, errors.DuplicateDatabase)
    assert {error.key, error.other} == {"shards.a.url", "shards.b.url"}
    assert "secret" not in f"{error} {error.hint}"


def test_the_control_database_cannot_be_a_shard(write: Write) -> None:
    """Or a reset of the shard would take the ledger with it."""
    error = refusal(write('[fleet]\ncontrol = "postgresql://h/a"\n[shards.a]\nurl = "postgresql://me@h/a"'))
    assert isinstance(error, errors.DuplicateDatabase)
    assert error.other == "fleet.control"


# --- where the file is --------------------------------------------------------------------------


def test_the_nearest_file_upwards_is_taken(tmp_path: Path, write: Write) -> None:
    """From anywhere inside the project the commands find it; a nearer one goes first."""
    below = tmp_path / "app" / "deep"
    below.mkdir(parents=True)
    nearest = write(FLEET)
    assert find_file(start=below) == nearest
    (tmp_path / "app" / "shardwright.toml").write_text(FLEET)
    assert find_file(start=below) == tmp_path / "app" / "shardwright.toml"


@pytest.mark.parametrize(
    "text", ['[tool.shardwright.fleet]\ncontrol = "embedded"', '[tool]\nshardwright.fleet.set = "x"']
)
def test_a_section_in_pyproject_is_a_configuration(text: str, tmp_path: Path) -> None:
    """However TOML spells it; its errors name pyproject.toml."""
    (tmp_path / "pyproject.toml").write_text(text)
    (tmp_path / "sub").mkdir()
    found = find_file(start=tmp_path / "sub")
    assert found == tmp_path / "pyproject.toml"
    if "control" in text:
        assert load(found).is_embedded
    else:
        assert "pyproject.toml: fleet.control is missing" in str(refusal(found))


def test_a_pyproject_that_only_speaks_of_us_is_passed_over(tmp_path: Path, write: Write) -> None:
    """A dependency or a comment is no configuration; the search goes on upwards."""
    sub = tmp_path / "sub"
    sub.mkdir()
    (sub / "pyproject.toml").write_text('# [tool.shardwright]\n[project]\ndependencies = ["shardwright"]')
    above = write(FLEET)
    assert find_file(start=sub) == above


def test_a_file_named_by_option_or_variable_is_taken(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config goes before $SHARDWRIGHT_CONFIG, which goes before the search."""
    monkeypatch.chdir(tmp_path)
    write(FLEET)
    (tmp_path / "other.toml").write_text(FLEET)
    (tmp_path / "third.toml").write_text(FLEET)
    monkeypatch.setenv("SHARDWRIGHT_CONFIG", "other.toml")
    assert find_file() == tmp_path / "other.toml"
    assert find_file(Path("third.toml")) == tmp_path / "third.toml"


def test_a_named_file_that_is_not_there_is_never_replaced_by_another(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error must not lead to another fleet: the source and the path are named."""
    monkeypatch.chdir(tmp_path)
    write(FLEET)
    monkeypatch.setenv("SHARDWRIGHT_CONFIG", "prod.toml")
    with pytest.raises(errors.ConfigFileMissing, match=re.escape("$SHARDWRIGHT_CONFIG names prod.toml, which is not")):
        find_file()
    with pytest.raises(errors.ConfigFileMissing, match=r"--config names \., which is no file"):
        find_file(Path())


def test_where_there_is_no_file_the_place_and_init_are_named(tmp_path: Path) -> None:
    """Nothing found up to the root: the message says where was looked and how to begin."""
    with pytest.raises(errors.ConfigNotFound, match=re.escape(str(tmp_path))) as missing:
        find_file(start=tmp_path)
    assert "shardwright init" in missing.value.hint
    assert missing.value.exit_code == 78


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[fleet]\ncontrol = \xe4"])
def test_a_file_that_is_no_text_is_named(content: bytes, tmp_path: Path) -> None:
    """The reason comes with the file's name."""
    (tmp_path / "shardwright.toml").write_bytes(content)
    error = refusal(tmp_path / "shardwright.toml")
    assert isinstance(error, errors.ConfigUnreadable)
    assert str(tmp_path) in str(error)


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    (tmp_path / "shardwright.toml").write_bytes(b"\xef\xbb\xbf" + FLEET.replace("\n", "\r\n").encode())
    assert load(tmp_path / "shardwright.toml").is_embedded


# --- durations ----------------------------------------------------------------------------------


@given(st.integers(1, 24 * 86_400_000))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    """Whatever unit it is shown in, it is the same duration."""
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    "text", ["", "5", "5m", "-5s", "1e3s", "5s ago", "٣s", "25d", "0.1ms", f"{'9' * 400}s", None, 5]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    """Nothing is guessed: `5m` may be minutes or months."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


# --- choosing shards ----------------------------------------------------------------------------


def fleet_of(*names: str) -> FleetConfig:
    sections = [
        f'[shards.{name}]\nurl = "postgresql://h/{name}"\nlabels = {{ region = "{name[:2]}" }}' for name in names
    ]
    config: Config = parse(FLEET + "\n".join(sections), Path("shardwright.toml"))
    return FleetConfig(config, config.shards[0].url, config.shards)


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        (None, ["eu_0", "eu_1", "us_0"]),
        ("us_0,eu_0", ["eu_0", "us_0"]),
        ("eu_*", ["eu_0", "eu_1"]),
        ("*_[01]", ["eu_0", "eu_1", "us_0"]),
        ("region=us", ["us_0"]),
        (" region=us , eu_1 ,", ["eu_1", "us_0"]),
    ],
)
def test_shards_are_chosen_by_names_patterns_and_labels(expression: str | None, chosen: list[str]) -> None:
    """In the file's order, each once, whatever the order of the words."""
    assert [shard.name for shard in fleet_of("eu_0", "eu_1", "us_0").select(expression)] == chosen


@pytest.mark.parametrize("expression", ["eu_2", "eu_0,eu_2", "region=ap", "zone=eu", "EU_*", "", ",", "*.*"])
def test_a_word_that_chooses_nothing_is_an_error(expression: str) -> None:
    """A misspelt shard is not left out in silence; what there is, is named."""
    with pytest.raises(errors.NoSuchShard) as refused:
        fleet_of("eu_0", "eu_1").select(expression)
    assert "eu_0, eu_1" in str(refused.value)
    assert refused.value.exit_code == 64


def test_the_nearest_name_is_proposed() -> None:
    """Among two thousand names the list is cut, so the likely one is said."""
    with pytest.raises(errors.NoSuchShard, match="did you mean shard_1234") as refused:
        fleet_of(*(f"shard_{number:04}" for number in range(2000))).select("shrad_1234")
    assert "and 1990 more" in str(refused.value)


def test_a_fleet_without_shards_says_how_to_get_some() -> None:
    """No selection of nothing."""
    config = parse(FLEET, Path("shardwright.toml"))
    with pytest.raises(errors.NoShards) as refused:
        FleetConfig(config, fleet_of("a").control, ()).select(None)
    assert "shardwright dev up" in refused.value.hint


def test_references_name_columns(write: Write) -> None:
    """`table.column` or `schema.table.column`, as the catalogs spell them; a part with dots in double quotes."""
    lines = '"invoices.plan_code" = "billing.plans.code"', '\'"odd.schema"."a ""b""".C\' = \'plans.code\''
    found = load(write("\n".join((FLEET, "[references]", *lines)))).references
    assert [(each.schema, each.table, each.column) for pair in found.items() for each in pair] == [
        (None, "invoices", "plan_code"),
        ("billing", "plans", "code"),
        ("odd.schema", 'a "b"', "C"),
        (None, "plans", "code"),
    ]


@pytest.mark.parametrize(
    "line",
    ['invoices.plan_code = "plans.code"', '"invoices" = "plans.code"', '"a.b.c.d" = "plans.code"', '"a.b" = 1'],
)
def test_a_reference_that_is_none_is_refused_with_an_example(write: Write, line: str) -> None:
    """A key without quotes is a table of TOML: whoever writes one is shown how it is written."""
    error = refusal(write(f"{FLEET}[references]\n{line}\n"))
    assert 'write both sides in quotes: "invoices.plan_code" = "billing.plans.code"' in str(error)
    assert "references." in str(error)


REBALANCE = """
    [shards.a]
    url = "postgresql://app@a/app"
    [rebalance]
    measures = { bytes = 1.0, custom = 2 }
    load_query = "SELECT 1"
    most_bytes = "100GB"
    windows = ["Sat 22:00-Sun 06:00", "daily 01:00-05:00"]
    pinned = ["acme"]
    together = [["acme", "acme-labs"]]
    apart = [["acme", "zeta"]]
    [rebalance.labels]
    region = "region"
    [rebalance.shares]
    a = 2
"""


def test_the_rules_of_a_rebalance_are_read(write: Write) -> None:
    """Groups as they stand there, sizes and windows parsed; what is not said has the documented default."""
    section = load(write(FLEET + REBALANCE)).rebalance
    assert (section.measures, section.most_bytes) == ({"bytes": 1.0, "custom": 2.0}, 100 * 10**9)
    assert [str(window) for window in section.windows] == ["Sat 22:00-Sun 06:00", "daily 01:00-05:00"]
    assert (section.together, section.apart) == ((("acme", "acme-labs"),), (("acme", "zeta"),))
    assert (section.labels, section.shares) == ({"region": "region"}, {"a": 2.0})
    assert (section.tolerance, section.high_water, section.per_host) == (0.1, 0.8, 2)


@pytest.mark.parametrize(
    ("found", "wrong", "key", "said"),
    [
        ('"zeta"', '"acme-labs"', "rebalance.apart[0]", "together as well"),
        ('load_query = "SELECT 1"', "", "rebalance.measures.custom", "load_query"),
        ("a = 2", "b = 2", "rebalance.shares.b", "no shard"),
        ("daily 01:00", "daily 25:00", "rebalance.windows[1]", "not a window"),
        ('["acme", "zeta"]', '["acme"]', "rebalance.apart[0]", "empty|at least 2"),
    ],
)
def test_rules_that_no_plan_can_keep_are_refused(write: Write, found: str, wrong: str, key: str, said: str) -> None:
    """With the key that is to be mended."""
    error = refusal(write(FLEET + REBALANCE.replace(found, wrong)))
    assert error.key == key
    assert re.search(said, str(error))
