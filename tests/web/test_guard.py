"""What every request passes: names, origins, headers, and who may read."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from shardwright.fleet import Fleet
from shardwright.web.guard import Hosts
from web.conftest import Clients, act, form_token, sign_in
from web.stage import TOKEN
from web.works import Works

EVERYWHERE = (
    "/", "/shards/shard_5", "/runs", "/sign-in", "/api/picture", "/metrics", "/healthz", "/static/page.css", "/nowhere",
    "/runs/99999", "/runs/99999999999999999999", "/tenants?after=%00", "/static/../app.py",
)  # fmt: skip


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_tells_the_browser_what_to_refuse(client: TestClient, path: str) -> None:
    """Scripts and styles of others, frames, guesses about types; also where there is nothing."""
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.status_code in (200, 400, 404)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "", "[::1", "localhost@evil.example"]
)
def test_a_name_that_is_not_ours_is_refused(client: TestClient, host: str) -> None:
    """A page whose name was made to lead here (DNS rebinding) reads nothing, and hears what to do if it is meant."""
    answer = client.get("/api/picture", headers={"host": host})
    assert answer.status_code == 421
    assert "--allow-host" in answer.text
    assert "shard_5" not in answer.text


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8321", "127.0.0.1:8321", "[::1]:8321", "10.1.2.3", "dash.example"]
)
def test_our_names_and_addresses_are_known(host: str) -> None:
    """And the one that --allow-host names."""
    assert Hosts(["dash.example"]).know(host)


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "https://localhost.evil.example", "http://localhost:9", "http://["]
)
def test_another_sites_form_changes_nothing(clients: Clients, works: Works, fleet: Fleet, origin: str | None) -> None:
    """With the session's cookie, and even with its form token."""
    run = works.move("acme")
    client = sign_in(clients.open())
    headers = {"origin": origin} if origin else {}
    answer = client.post(f"/runs/{run}/pause", data={"form": form_token(client)}, headers=headers)
    assert answer.status_code == 403
    found = fleet.durable_run(run)
    assert found is not None
    assert found.wish is None


def test_a_public_dashboard_asks_nobody_who_reads(onlookers: Clients) -> None:
    """On this machine's own address, unless it is to be private."""
    assert onlookers.open().get("/").status_code == 200
    assert onlookers.open(host="10.1.1.1", is_private=False).get("/").status_code == 200


def test_where_other_machines_reach_it_readers_sign_in(onlookers: Clients) -> None:
    """A browser is led to the door and back to where it wanted to go; a machine is told."""
    client = onlookers.open(host="0.0.0.0")  # noqa: S104 nothing listens here
    answer = client.get("/shards/shard_5?x=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?then=%2Fshards%2Fshard_5%3Fx%3D1"
    assert client.get("/api/picture", headers={"accept": "*/*"}).status_code == 401
    assert client.get("/events", headers={"hx-request": "true"}).status_code == 401
    assert (
        act(client, "/sign-in", token=TOKEN, who="ada", then="/shards/shard_5?x=1").headers["location"]
        == "/shards/shard_5?x=1"
    )
    assert client.get("/shards/shard_5").status_code == 200


@pytest.mark.parametrize(("authorization", "status"), [
    (f"Bearer {TOKEN}", 200), (f"bearer {TOKEN}", 200), ("Bearer wrong", 401), (f"Basic {TOKEN}", 401), ("", 401),
])  # fmt: skip
def test_a_machine_reads_with_the_token(onlookers: Clients, authorization: str, status: int) -> None:
    """Prometheus does, say."""
    client = onlookers.open(is_private=True)
    answer = client.get("/metrics", headers={"authorization": authorization, "accept": "text/plain"})
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/healthz", "/static/page.css", "/sign-in"])
def test_some_things_are_open_to_all(onlookers: Clients, path: str) -> None:
    """What a probe asks, and what the door itself is made of."""
    assert onlookers.open(is_private=True).get(path).status_code == 200


def test_a_session_is_kept_from_scripts_and_other_sites(onlookers: Clients) -> None:
    """HttpOnly and SameSite=Strict always; Secure behind TLS."""
    cookie = act(onlookers.open(), "/sign-in", token=TOKEN, who="ada", then="/").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Secure" not in cookie
    client = onlookers.open()
    client.base_url = client.base_url.copy_with(scheme="https")
    answer = client.post("/sign-in", data={"token": TOKEN}, headers={"origin": "https://localhost"})
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "then", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nb"]
)
def test_the_door_leads_nowhere_else(client: TestClient, then: str) -> None:
    """Whatever a link to it says."""
    assert act(client, "/sign-in", token=TOKEN, who="ada", then=then).headers["location"] == "/"


def test_a_wrong_token_is_told_and_counted(client: TestClient) -> None:
    """The sixth try has to wait, and hears for how long."""
    for _ in range(5):
        answer = act(client, "/sign-in", token="wrong", who="<b>ada", then="/")
        assert answer.status_code == 403
        assert "&lt;b&gt;ada" in answer.text
    answer = act(client, "/sign-in", token=TOKEN, who="ada", then="/")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 61


def test_a_form_that_is_none_of_ours_is_no_fault(client: TestClient) -> None:
    """Megabytes, thousands of fields, and what is no text."""
    for body in (b"token=" + b"x" * 200_000, b"&".join(b"a=b" for _ in range(5000)), b"\xff\xfe%zz"):
        answer = client.post("/sign-in", content=body, headers={"origin": "http://localhost"})
        assert answer.status_code in (403, 429)
