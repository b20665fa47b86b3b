"""Each page: what it shows of a fleet that is well, unwell, huge, hostile, or half away."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from starlette.testclient import TestClient

from kit import Project
from shardwright.fleet import Fleet
from shardwright.monitor.check import FleetCheck
from shardwright.monitor.picture import Picture
from shardwright.pg.faults import Fault
from web import fleets
from web.conftest import Clients
from web.works import Works

THIN = "\N{NARROW NO-BREAK SPACE}"
HOSTILE = "<script>alert(1)</script>\"'`&{{7*7}}"


def busy(fleet: Fleet, picture: Picture) -> Picture:
    """The picture with what really is under way."""
    real = fleet.picture()
    return replace(picture, open=real.open, runs=real.runs, workers=real.workers, moves=real.moves, change=real.change)


def text_of(client: TestClient, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    return str(answer.text)


def test_what_is_odd_comes_first(client: TestClient) -> None:
    """A shard that is down is named before one that is well, with why."""
    page = text_of(client, "/")
    assert "Connection refused" in page
    places = [page.index(f'id="tile-shard_{number}"') for number in (3, 5, 0)]
    assert places == sorted(places)
    assert "(1 down) Fleet" in page


@pytest.mark.parametrize(("path", "told"), [
    ("/?q=10.0.5.7", ["shard_5"]),
    ("/?q=SHARD_1", ["shard_1", "shard_10", "shard_11"]),
    ("/?q=critical+shard", ["shard_3", "shard_5"]),
    (f"/?q={fleets.BEFORE}", ["shard_7"]),
    ("/?q=nothing+like+it", []),
])  # fmt: skip
def test_shards_are_filtered(client: TestClient, path: str, told: list[str]) -> None:
    """By name, host, state and revision, each word by itself."""
    assert sorted(re.findall(r'id="tile-(shard_\d+)"', text_of(client, path))) == told


@pytest.mark.parametrize(("query", "first", "last"), [
    ("sort=connections&order=down", "shard_5", "shard_3"),
    ("sort=level", "shard_3", "shard_11"),
    ("sort=name&order=down", "shard_11", "shard_0"),
    ("sort=nonsense", "shard_0", "shard_11"),
])  # fmt: skip
def test_the_table_is_in_the_order_that_was_asked(client: TestClient, query: str, first: str, last: str) -> None:
    """What is not known stands last."""
    rows = re.findall(r'id="row-(shard_\d+)"', text_of(client, f"/?view=table&{query}"))
    assert (rows[0], rows[-1]) == (first, last)
    assert len(rows) == 12


def test_a_thousand_shards_are_a_page(onlookers: Clients) -> None:
    """Each is on it, those that want a look first and whole; half a megabyte at most."""
    page = text_of(onlookers.open(fleets.troubled(1000, at=datetime.now(UTC))), "/")
    assert len(set(re.findall(r'href="/shards/(shard_\d+)"', page))) == 1000
    assert page.index("tile-shard_3") < page.index("cell-shard_0")
    assert len(page) < 500_000


def test_a_hosts_trouble_is_not_that_of_each_of_many_shards(onlookers: Clients) -> None:
    """A hundred shards behind a full server are not a hundred tiles in red."""
    page = text_of(onlookers.open(fleets.troubled(1000, at=datetime.now(UTC))), "/")
    assert re.findall(r'id="tile-(shard_\d+)"', page) == ["shard_3", "shard_7"]


def test_hundreds_that_are_down_are_still_a_page(onlookers: Clients) -> None:
    """Sixty of them with why, the others by name, with a mark and a word."""
    unwell = {number: fleets.down(number) for number in range(400)}
    page = text_of(onlookers.open(fleets.picture(1000, unwell=unwell)), "/")
    assert len(re.findall(r'id="tile-shard_\d+"', page)) == 60
    assert len(re.findall(r'id="cell-shard_\d+"', page)) == 940
    assert "(400 down)" in page


def test_expected_skew_is_told_apart(onlookers: Clients) -> None:
    """A rollout in waves is no reason for a look."""
    picture = replace(fleets.troubled(at=datetime.now(UTC)), alerts=())
    expected = (picture.skew[0], replace(picture.skew[1], expected="rollout 12 in wave 2 of 3"))
    client = onlookers.open(replace(picture, skew=expected))
    page = text_of(client, "/")
    assert "rollout 12 in wave 2 of 3" in page
    assert page.index('id="well-title"') < page.index('id="tile-shard_7"')


def test_what_was_over_lately_stands_below_what_fires(onlookers: Clients) -> None:
    """With how long it lasted; machines are told both."""
    at = datetime.now(UTC)
    over = replace(fleets.troubled(at=at).alerts[0], fact="it was away", resolved_at=at - timedelta(minutes=1))
    client = onlookers.open(replace(fleets.troubled(at=at), over=(over,)))
    page = text_of(client, "/alerts")
    assert page.index("does not answer") < page.index("Over in the last seven days") < page.index("it was away")
    assert re.search(r"lasted 3\smin", page)
    assert [each["status"] for each in client.get("/api/alerts").json()["over"]] == ["resolved"]


def test_one_shard_has_its_hour_and_its_troubles(onlookers: Clients) -> None:
    """Six lines of the last hour, with words for whoever does not see them; a gap where it was down is no line."""
    client = onlookers.open(*fleets.hour(until=datetime.now(UTC)))
    page = text_of(client, "/shards/shard_5")
    assert page.count('<figure class="plot">') == 6
    assert re.search(r'aria-label="Latency: [\d.]+.ms at last, [\d.]+.ms at most"', page)
    assert "max_connections" in page
    assert "Connection refused" in text_of(client, "/shards/shard_3")


def test_while_the_first_picture_is_taken_the_page_says_so(onlookers: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """And machines hear 503."""
    monkeypatch.setattr("shardwright.web.site._FIRST_PICTURE", 0.01)
    client = onlookers.open(has_picture=False)
    for path in ("/", "/work", "/check", "/alerts", "/shards/shard_0"):
        assert "first picture" in text_of(client, path)
    for path in ("/api/picture", "/api/alerts", "/api/check", "/health/shards"):
        text_of(client, path, 503)


def test_only_what_has_changed_is_sent_to_an_open_page(client: TestClient) -> None:
    """With its title; the rest of the page stays. Caches are told."""
    answer = client.get("/", headers={"hx-request": "true", "hx-request-type": "partial"})
    assert answer.text.startswith("<title>")
    assert "<header" not in answer.text
    assert "HX-Request-Type" in answer.headers["vary"]
    assert "<header" in text_of(client, "/")


def test_a_page_reads_without_scripts(client: TestClient) -> None:
    """It loads itself again, and everything is a link or a form."""
    page = text_of(client, "/")
    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in page
    assert '<form id="filter" role="search" action="/" method="get"' in page
    assert not re.search(r"\son\w+=|javascript:|<script>|style=", page)


def test_a_page_is_read_from_the_keyboard(client: TestClient) -> None:
    """A link over the bar, landmarks, the place in it, a name for each field."""
    page = text_of(client, "/")
    for part in (
        'class="skip" href="#content"',
        '<main id="content"',
        "<nav aria-label=",
        'aria-current="page"',
        "<html lang=",
    ):
        assert part in page
    assert len(re.findall(r"<input (?!type=\"hidden\")", page)) == len(re.findall(r"<label>", page))


def test_a_hostile_name_is_a_name(clients: Clients, works: Works, fleet: Fleet) -> None:
    """Of a tenant, an operator, an error, a note: never markup, on any page."""
    works.tenants(HOSTILE)
    run = works.move(HOSTILE + "2")
    works.leave(run, 1, "parked", HOSTILE)
    unwell = {0: fleets.down(0, fault=Fault(HOSTILE, HOSTILE))}
    client = clients.open(busy(fleet, fleets.picture(3, unwell=unwell, control_fault=Fault(HOSTILE))))
    found = 0
    for path in ("/", "/?view=table", f"/?q={HOSTILE}", "/work", "/runs", f"/runs/{run}", "/tenants",
                 f"/tenants?q={HOSTILE}", "/shards/shard_0", "/alerts", f"/sign-in?then={HOSTILE}"):  # fmt: skip
        page = client.get(path).text
        assert "<script>alert" not in page, path
        assert "49" not in re.findall(r"\{\{.*?\}\}", page), path
        found += "&lt;script&gt;" in page
    assert found >= 7
    page = client.get("/tenant", params={"id": HOSTILE}).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_the_ledger_is_paged_without_loss(clients: Clients, works: Works) -> None:
    """Every run once, the newest first."""
    made = [works.rollout(shards=3, done=3, failed=(), under_way=False) for _ in range(53)]
    client, path, seen = clients.open(), "/runs", list[int]()
    while path:
        page = text_of(client, path)
        seen += [int(number) for number in re.findall(r'<tr id="run-(\d+)"', page)]
        following = re.search(r'href="(/runs\?before=\d+)"', page)
        path = following[1] if following else ""
    assert seen == made[::-1]


def test_tenants_are_paged_without_loss(clients: Clients, works: Works) -> None:
    """A hundred thousand of them are pages of a hundred; a search is one."""
    works.many_tenants(100_000)
    client, path, seen = clients.open(), "/tenants?q=t00002", list[str]()
    while path:
        page = text_of(client, path)
        seen += re.findall(r'href="/tenant\?id=(t\d+)"', page)
        following = re.search(r'href="(/tenants\?[^"]*after=[^"]*)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == [f"t00002{number:02}" for number in range(100)]
    assert len(re.findall("/tenant\\?id=", text_of(client, "/tenants"))) == 100


def test_a_rollout_shows_waves_and_failures_with_their_cure(clients: Clients, works: Works) -> None:
    """Which wave it is in, what failed first, the rest below."""
    run = works.rollout()
    page = text_of(clients.open(), f"/runs/{run}")
    assert [re.sub(r"\s+", " ", each) for each in re.findall(r'id="wave-\d".*?<td class="num">(.*?)</td>', page)] == [
        "1 of 1", "3 of 3", "1 of 8",
    ]  # fmt: skip
    assert "<code>SELECT pg_terminate_backend(4711) on this shard, then repeat</code>" in page
    assert page.index("wrong-shard_4") < page.index(">shard_10<")


def test_a_move_shows_how_it_goes(clients: Clients, works: Works) -> None:
    """Steps, progress, three lines over its time with the steps' beginnings marked."""
    run = works.move("acme")
    page = text_of(clients.open(), f"/runs/{run}")
    assert page.count('<figure class="plot">') == 3
    assert "of 300" in page
    assert '<text class="when"' in page


def test_a_switched_move_shows_its_proof(clients: Clients, works: Works) -> None:
    """Write gap, certificate by table, until when there is a way back."""
    run = works.move("acme", at="keep")
    page = text_of(clients.open(), f"/runs/{run}")
    for part in (f"18{THIN}ms", f"300{THIN}000", "equal on both sides", "the way back closes", "public.tasks"):
        assert part in page, part


def test_a_change_shows_its_lanes(clients: Clients, works: Works) -> None:
    """Tenants, keys, lag both ways, write gaps, orders."""
    run = works.change()
    page = text_of(clients.open(), f"/runs/{run}")
    for part in (
        "green_2",
        "of 40 tenants at green",
        "write gap in the middle",
        "certificates equal",
        f"25{THIN}% of all tenants",
    ):
        assert part in page, part


def test_a_rebalance_shows_what_each_shard_carries_and_each_move(clients: Clients, works: Works) -> None:
    """Before and after as bars that are told in words too, what is amiss first, a link to each move's run."""
    run = works.rebalance()
    page = text_of(clients.open(), f"/runs/{run}")
    for part in (
        "moving tenants", f"80{THIN}% → 4{THIN}%", "could not be", "it can&#39;t be moved",
        "It leaves nobody on shard_0",
        f'aria-label="shard_0: 180{THIN}% of its due before, 104{THIN}% after"', f'<a href="/runs/{run + 1}">',
        "&lt;script&gt;",
    ):  # fmt: skip
        assert part in page, part
    assert page.index("globex") < page.index("acme")
    assert not re.search(r"\son\w+=|javascript:|<script>|style=", page)


def test_the_plan_page_leads_to_the_open_rebalance(clients: Clients, project: Project, works: Works) -> None:
    """Else it shows what one would move, or why that can't be said; nothing is measured for it."""
    client = clients.open()
    assert "has no [tenants]" in text_of(client, "/rebalance")
    project.extra = '[tenants]\nroot = "orgs"\nkey = "org_id"'
    project.write()
    client = Clients(project.fleet()).open()
    assert "There is nothing to move" in text_of(client, "/rebalance")
    run = works.rebalance()
    answer = client.get("/rebalance", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run}")


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/runs/1000000", "/runs/99999999999999999999", "/runs/x", "/shards/none", "/tenant?id=none"],
)
def test_what_is_not_there_is_told(clients: Clients, works: Works, path: str) -> None:
    """With 404, and a way back to the fleet."""
    del works
    assert 'href="/"' in text_of(clients.open(), path, 404)


@pytest.mark.parametrize(("path", "status"), [
    ("/runs/{}", 404), ("/runs/{}/undo", 303), ("/api/runs/{}", 404), ("/runs?before={}", 200),
])  # fmt: skip
def test_a_number_of_thousands_of_digits_is_no_fault(client: TestClient, path: str, status: int) -> None:
    """No run has it."""
    assert client.get(path.format("9" * 5000)).status_code == status


@pytest.mark.parametrize("path", ["/api/nowhere", "/api/runs/x", "/api/shards/none"])
def test_a_machine_hears_of_an_error_as_json(client: TestClient, path: str) -> None:
    """Whatever it accepts."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "hint"}


def test_without_a_control_database_the_shards_are_shown(clients: Clients, fleet: Fleet) -> None:
    """The fleet page says that it is away, and the ledger's says why, with 503 and the command that helps."""
    client = clients.open(
        fleets.picture(control_fault=Fault("the control database is away", "shardwright shards check"))
    )
    control = fleet.resolved.control
    with psycopg.connect(fleet.resolved.shards[0].url.conninfo, autocommit=True) as admin:
        name = psycopg.sql.Identifier(control.database)
        admin.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        page = text_of(client, "/")
        assert "the control database is away" in page
        assert "tile-shard_0" in page
        for path in ("/runs", "/tenants", "/runs/1"):
            assert "try" in text_of(client, path, 503)
        for path in ("/work", "/alerts", "/check", "/metrics", "/api/picture"):
            text_of(client, path)
        admin.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))


def test_no_page_shows_a_password(clients: Clients, works: Works) -> None:
    """Not even one that an error brings."""
    works.rollout()
    secret = Fault('could not connect to "postgresql://app:hunter2@db/shard"', "psql postgresql://app:hunter2@db/shard")
    client = clients.open(fleets.picture(unwell={0: fleets.down(0, fault=secret)}))
    for path in ("/", "/shards/shard_0", "/?view=table", "/api/picture", "/api/shards/shard_0", "/health/shards"):
        assert "hunter2" not in client.get(path).text


def test_a_check_is_read_object_by_object(onlookers: Clients) -> None:
    """What drifted, line by line; tenants on two shards, references to nothing, what runs out, what is left over."""
    client = onlookers.open(fleets.picture(), checked=fleets.unlike())
    page = text_of(client, "/check")
    assert re.search(r"public.tasks_by_due</b> <span class=\"how\">is missing here", page)
    assert re.search(r"public.tasks_note</b> <span class=\"how\">is only here", page)
    lines = re.findall(r'<span class="(here|elsewhere|same)"><span class="sign">.</span>(.*?)\n', page)
    assert ("here", "  NEW.changed_at := clock_timestamp();") in lines
    assert ("elsewhere", "  NEW.changed_at := now();") in lines
    assert ("same", "  RETURN NEW;") in lines
    for part in ("on two shards", "acme", "belong to no tenant", "gold-2019", "tasks_id_seq", "move 12"):
        assert part in page, part


def test_a_check_that_found_nothing_says_so(onlookers: Clients) -> None:
    """In a sentence."""
    client = onlookers.open(fleets.picture(), checked=FleetCheck())
    assert "Everything is as it should be" in text_of(client, "/check")
