"""Alerts are told once, by one of several processes, to real receivers, also those that were away; and not for ever."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kit import MakeProject, Project, until
from pictures import away, config, picture, vitals
from shardwright.catalog.control import open_control
from shardwright.config import Config
from shardwright.dsn import DatabaseUrl
from shardwright.monitor.alerts.alert import Alert
from shardwright.monitor.alerts.bell import Bell
from shardwright.monitor.alerts.damping import Damping
from shardwright.monitor.alerts.receivers import Log, NotTold, Receiver, receivers
from shardwright.monitor.alerts.store import AlertStore
from shardwright.pg.faults import Fault

NOWHERE = DatabaseUrl.parse("postgresql://postgres@127.0.0.1:1/nobody")
DOWN, UP = picture(away()), picture(vitals())


class Hook:
    """A webhook: what it was posted, and the codes it answers with, the last one for ever."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.codes = [200]
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = hook.codes.pop(0) if len(hook.codes) > 1 else hook.codes[0]
                if code == 200:
                    hook.posted.append(json.loads(body))
                self.send_response(code)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/T0/s3cret"

    def told(self) -> list[tuple[str, str]]:
        return [(alert["subject"], alert["status"]) for post in self.posted for alert in post["alerts"]]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def control(make_database: Callable[[], str]) -> DatabaseUrl:
    url = DatabaseUrl.parse(make_database())
    with open_control(url, application_name="test"):
        return url


def bell(url: DatabaseUrl | None, *to: Receiver, hold: float = 0, **options: Any) -> Bell:
    return Bell(config('[alerts]\noff = ["drift"]\n'), url, to, Damping(timedelta(seconds=hold)), **options)


def log() -> tuple[list[tuple[str, str]], Log]:
    said: list[tuple[str, str]] = []
    return said, Log(lambda alert: said.append((alert.subject, alert.status)))


def of(hook: Hook, extra: str = "") -> tuple[Config, tuple[Receiver, ...]]:
    settings = config(f'[alerts]\nwebhook = "{hook.url}"\n{extra}')
    return settings, receivers(settings, lambda _: None)


def test_what_two_processes_find_is_told_once(control: DatabaseUrl) -> None:
    """When it begins and when it is over; both show it meanwhile."""
    (one_said, one_log), (other_said, other_log) = log(), log()
    one, other = bell(control, one_log), bell(control, other_log)
    for process in (one, other, one):
        assert [alert.subject for alert in process.judge(DOWN).alerts] == ["shard_0"]
        assert process.deliver() == []
    for process in (other, one):
        assert process.judge(picture(vitals(), seconds=60)).alerts == ()
        process.deliver()
    assert one_said == [("shard_0", "firing")]
    assert other_said == [("shard_0", "resolved")]


def test_of_two_that_write_the_same_at_once_one_has_its_line_in(control: DatabaseUrl) -> None:
    """Neither knew of the other, and one of them tells it."""
    alert = Alert("shard_down", "shard_0", "critical", "it is away", "", DOWN.at)
    with open_control(control, application_name="one") as one, open_control(control, application_name="two") as two:
        for connection in (one, two):
            AlertStore(connection, "main").begin([alert])
        claimed = [AlertStore(connection, "main").claim(["log"]) for connection in (one, two)]
    assert [[line.alert for line in lines] for lines in claimed] == [[alert], []]


def test_a_trouble_that_comes_again_is_told_again(control: DatabaseUrl) -> None:
    """As one of its own."""
    said, to = log()
    process = bell(control, to)
    for one in (DOWN, UP, DOWN):
        process.judge(one)
        process.deliver()
    assert said == [("shard_0", "firing"), ("shard_0", "resolved"), ("shard_0", "firing")]


def test_what_was_over_lately_is_remembered_and_no_more_than_that(control: DatabaseUrl) -> None:
    """The last first, fifty of them, of seven days; what fires is not among them."""
    troubles = [Alert("shard_down", f"shard_{n}", "critical", "it is away", "", DOWN.at) for n in range(52)]
    with open_control(control, application_name="test") as connection:
        store = AlertStore(connection, "main")
        store.begin(troubles)
        now = datetime.now(UTC)
        ends = [replace(each, resolved_at=now - timedelta(minutes=n)) for n, each in enumerate(troubles)]
        store.resolve([ends[0], replace(ends[1], resolved_at=now - timedelta(days=8))])
        assert [each.subject for each in store.over()] == ["shard_0"]
        assert len(store.firing()) == 50
        store.begin([troubles[0], troubles[1]])
        store.resolve(ends)
        assert [each.subject for each in store.over()][:3] == ["shard_0", "shard_0", "shard_1"]
        assert len(store.over()) == 50
        assert AlertStore(connection, "other").over() == []


def test_what_fires_is_told_with_its_present_figures(control: DatabaseUrl) -> None:
    """And the moment at which it began."""
    process = bell(control)
    process.judge(picture(vitals(connections=90)))
    (alert,) = process.judge(picture(vitals(connections=95), seconds=60)).alerts
    assert "95 of 97" in alert.fact
    assert alert.since == DOWN.at


def test_a_webhook_gets_the_document(hook: Hook, control: DatabaseUrl) -> None:
    """With the fleet it is about, the fact and the cure; several alerts in one."""
    settings, to = of(hook)
    process = Bell(settings, control, to, Damping(timedelta(0)))
    process.judge(picture(away(), away("shard_1")))
    assert process.deliver() == []
    (post,) = hook.posted
    assert (post["set"], post["environment"]) == ("main", "production")
    assert [alert["subject"] for alert in post["alerts"]] == ["shard_0", "shard_1"]
    first = post["alerts"][0]
    assert (first["rule"], first["severity"], first["status"]) == ("shard_down", "critical", "firing")
    assert first["fact"].startswith("shard_0 on db1:5432 does not answer")
    assert (first["cure"], first["resolved_at"]) == ("is the server running and listening there?", None)


def test_slack_gets_text_in_which_nobody_is_called(hook: Hook) -> None:
    """A tenant's name is a user's word: `<!channel>` must stay text."""
    settings, to = of(hook, 'format = "slack"\n')
    process = Bell(settings, None, to, Damping(timedelta(0)))
    hostile = away(fault=Fault("<!channel> & co"))
    process.judge(picture(hostile, *(away(f"shard_{n}") for n in range(1, 30))))
    process.deliver()
    text = hook.posted[0]["text"]
    assert "&lt;!channel&gt; &amp; co" in text
    assert text.startswith("*main* (production)\n✗ shard_down shard_0: ")
    assert text.endswith("and 10 more: shardwright check")


def test_a_receiver_that_was_away_hears_of_it_later(hook: Hook, control: DatabaseUrl) -> None:
    """From whichever process watches then, once; and why it must wait shows no secret."""
    hook.codes = [503, 200]
    settings, to = of(hook)
    first, second = (Bell(settings, control, to, Damping(timedelta(0))) for _ in range(2))
    first.judge(DOWN)
    (failure,) = first.deliver()
    assert failure == "the webhook at 127.0.0.1 answered 503"
    until(lambda: second.deliver() == [] and hook.posted)
    assert hook.told() == [("shard_0", "firing")]


def test_a_receiver_that_does_not_answer_holds_no_picture_up(control: DatabaseUrl) -> None:
    """It is told in a thread, and tried again until it takes it."""
    stuck, tries = threading.Event(), []

    class Slow:
        name = "webhook"

        def tell(self, alerts: Any) -> None:
            tries.append(len(alerts))
            if len(tries) == 1:
                stuck.wait(10)
                raise NotTold("it did not answer")

    said: list[str] = []
    with bell(control, Slow(), say=said.append) as process:
        process.judge(DOWN)
        until(lambda: tries)
        for _ in range(3):
            assert process.judge(DOWN).alerts
        stuck.set()
        until(lambda: len(tries) == 2)
    assert said == ["alerts wait: it did not answer"]


def test_a_receiver_that_breaks_does_not_end_the_telling() -> None:
    """What nobody foresaw is said, without secrets, and the next trouble is told all the same."""
    heard: list[str] = []

    class Fragile:
        name = "webhook"

        def tell(self, alerts: Any) -> None:
            heard.extend(alert.subject for alert in alerts)
            if heard == ["shard_0"]:
                raise RuntimeError("postgresql://ada:s3cret@h/d")

    said: list[str] = []
    with bell(None, Fragile(), say=said.append) as process:
        process.judge(DOWN)
        until(lambda: said)
        process.judge(picture(away("shard_7")))
        until(lambda: "shard_7" in heard)
    assert said[0].startswith("alerts wait: RuntimeError: ")
    assert "s3cret" not in str(said)


def test_of_two_receivers_only_the_one_that_failed_is_told_again(hook: Hook, tmp_path: Path) -> None:
    """The other has heard."""
    note = tmp_path / "note"
    script = f"import sys; open({str(note)!r}, 'a').write(sys.stdin.read() + chr(10))"
    hook.codes = [500, 200]
    settings, to = of(hook, f"command = {json.dumps([sys.executable, '-c', script])}\n")
    process = Bell(settings, None, to, Damping(timedelta(0)))
    process.judge(DOWN)
    assert len(process.deliver()) == 1
    until(lambda: process.deliver() == [] and hook.posted)
    (document,) = [json.loads(text) for text in note.read_text().splitlines()]
    assert document["alerts"][0]["subject"] == "shard_0"
    assert hook.told() == [("shard_0", "firing")]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/nowhere/program"], "the command /nowhere/program can't be started: No such file or directory"),
        (["sh", "-c", "echo password=s3cret >&2; exit 3"], "the command sh ended with 3: password=***"),
        (["sh", "-c", "printf 'caf\\351' >&2; exit 1"], "the command sh ended with 1: caf\N{REPLACEMENT CHARACTER}"),
        (["true"], None),
    ],
)
def test_a_command_that_fails_says_so(command: list[str], reason: str | None) -> None:
    """In words without secrets; one that does not read its input has heard all the same."""
    (to,) = receivers(config(f"[alerts]\ncommand = {json.dumps(command)}\n"), lambda _: None)
    alert = Alert("shard_down", "shard_0", "critical", "x" * 100_000, "", DOWN.at)
    if reason is None:
        to.tell([alert])
        return
    with pytest.raises(NotTold) as caught:
        to.tell([alert])
    assert str(caught.value) == reason


def test_a_webhook_that_is_not_there_is_told_without_its_path() -> None:
    """The path is as good as a password."""
    (to,) = receivers(config('[alerts]\nwebhook = "http://127.0.0.1:1/services/s3cret"\n'), lambda _: None)
    with pytest.raises(NotTold) as caught:
        to.tell([])
    assert "can't be reached" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_webhook_in_the_configuration_is_never_shown() -> None:
    """Neither by the section, nor by what is wrong with it."""
    assert "s3cret" not in repr(config('[alerts]\nwebhook = "https://h/s3cret"\n'))
    with pytest.raises(Exception, match="begins with https") as caught:
        config('[alerts]\nwebhook = "s3cret.example.com/x"\n')
    assert "s3cret" not in str(caught.value)


# --- the control database goes away, and comes back ---------------------------------------------


@contextmanager
def gone(process: Bell) -> Iterator[None]:
    """The process can't reach the control database within."""
    url, process._control = process._control, NOWHERE
    yield
    process._control = url


def test_while_the_control_database_is_away_alerts_go_on(control: DatabaseUrl) -> None:
    """What was told is not told again, what begins is, also that it is away; once it is back all is written down."""
    said, to = log()
    process = bell(control, to)
    process.judge(DOWN)
    process.deliver()
    fault = Fault("the control database is away")
    with gone(process):
        process.judge(picture(away(), away("shard_1"), control_fault=fault))
        process.deliver()
        assert said == [("shard_0", "firing"), ("shard_1", "firing"), ("control", "firing")]
        process.judge(picture(vitals(), away("shard_1"), control_fault=fault))
        process.deliver()
        assert said[3:] == [("shard_0", "resolved")]
    process.judge(picture(vitals(), away("shard_1")))
    process.deliver()
    assert said[4:] == [("control", "resolved")]
    other = bell(control, to)
    assert [alert.subject for alert in other.judge(picture(vitals(), away("shard_1"))).alerts] == ["shard_1"]
    other.deliver()
    assert len(said) == 5


def test_what_a_receiver_missed_meanwhile_is_not_lost(hook: Hook, control: DatabaseUrl) -> None:
    """Both were away: the webhook hears of it when both are back."""
    hook.codes = [503, 200]
    settings, to = of(hook)
    process = Bell(settings, control, to, Damping(timedelta(0)))
    with gone(process):
        process.judge(DOWN)
        assert len(process.deliver()) == 1
    process.judge(DOWN)
    until(lambda: process.deliver() == [] and hook.posted)
    assert hook.told() == [("shard_0", "firing")]


# --- for cron -------------------------------------------------------------------------------------


@pytest.fixture
def project(make_project: MakeProject, hook: Hook) -> Project:
    made = make_project(shards=2, extra=f'[alerts]\nwebhook = "{hook.url}"\n')
    made.table("r1", "notes")
    made.migrate()
    return made


def test_a_look_of_cron_tells_at_once_and_once(project: Project, hook: Hook) -> None:
    """Of what is wrong, and that it is over; `Fleet.alert` gives what fires."""
    assert project.fleet().alert().picture.alerts == ()
    url, project.shards["shard_1"] = project.shards["shard_1"], "postgresql://postgres@127.0.0.1:1/nobody"
    project.write()
    for _ in range(2):
        told = project.fleet().alert()
        assert [alert.key for alert in told.picture.alerts] == [("shard_down", "shard_1")]
        assert told.failures == ()
    assert [alert.key for alert in project.fleet().picture().alerts] == [("shard_down", "shard_1")]
    project.shards["shard_1"] = url
    project.write()
    assert project.fleet().alert().picture.alerts == ()
    assert hook.told() == [("shard_1", "firing"), ("shard_1", "resolved")]


def test_a_watch_of_the_fleet_alerts(project: Project, hook: Hook) -> None:
    """What lasts as long as [alerts] hold says."""
    project.extra += 'hold = "200ms"\n[monitor]\nevery = "1s"\n'
    project.shards["shard_1"] = "postgresql://postgres@127.0.0.1:1/nobody"
    project.write()
    with project.fleet().watch(say=print) as watch:
        until(lambda: (newest := watch.newest) and newest.alerts)
        until(lambda: hook.posted)
    assert hook.told()[0] == ("shard_1", "firing")
