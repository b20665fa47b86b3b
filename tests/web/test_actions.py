"""What whoever has signed in may do: the same as the commands, in his name, asked first where there is no way back."""

from __future__ import annotations

import psycopg
import pytest
from starlette.testclient import TestClient

from shardwright.fleet import Fleet
from shardwright.migration import detached
from shardwright.move import steps as moving
from shardwright.runs.board import DurableRun
from web.conftest import Clients, act, form_token, sign_in
from web.works import Works


def press(client: TestClient, run: int, action: str) -> int:
    """The button is pressed, by whoever has signed in; gives the status."""
    status: int = act(client, f"/runs/{run}/{action}", form=form_token(client)).status_code
    return status


def reasons(fleet: Fleet, run: int) -> list[str]:
    """What the ledger says of who did what."""
    return [str(event.data.get("reason") or event.data.get("text")) for event in fleet.recent_events(run)]


def durable(fleet: Fleet, run: int) -> DurableRun:
    found = fleet.durable_run(run)
    assert found is not None
    return found


def test_a_run_is_paused_and_resumed_in_ones_name(clients: Clients, works: Works, fleet: Fleet) -> None:
    """The ledger has who, beside when."""
    run = works.durable(detached.KIND, target="head")
    client = sign_in(clients.open(), "ada")
    assert press(client, run, "pause") == 303
    assert durable(fleet, run).state == "paused"
    assert press(client, run, "resume") == 303
    assert durable(fleet, run).state == "queued"
    assert reasons(fleet, run)[-2:] == ["ada (dashboard) paused it", "ada (dashboard) resumed it"]


def test_a_wish_for_a_run_in_somebodys_hands_has_its_name(clients: Clients, works: Works, fleet: Fleet) -> None:
    """Its worker hears of it within a heartbeat; who wished it stands there at once."""
    run = works.move("acme")
    assert press(sign_in(clients.open(), "grace"), run, "pause") == 303
    assert durable(fleet, run).wish == "pause"
    assert "grace (dashboard) wants to pause it" in reasons(fleet, run)


def test_an_approval_has_its_name(clients: Clients, works: Works, fleet: Fleet) -> None:
    """In the step, for ever."""
    run = works.durable(detached.KIND, target="head")
    works.leave(run, works.begin(run), "waiting", "roll out?", waits_for="roll out")
    assert press(sign_in(clients.open(), "grace"), run, "approve") == 303
    assert durable(fleet, run).state == "queued"
    assert [step.approved_by for step in fleet.steps(run)] == ["grace (dashboard)"]


def test_the_undo_of_a_switched_move_is_left_to_a_worker(clients: Clients, works: Works, fleet: Fleet) -> None:
    """The request returns at once: nothing of the move is done in it."""
    run = works.move("acme", at="keep")
    client = sign_in(clients.open(), "ada")
    assert press(client, run, "undo") == 303
    found = durable(fleet, run)
    assert (found.state, found.direction) == ("queued", "back")
    assert reasons(fleet, run)[-1] == "ada (dashboard) cancelled it"
    assert fleet.move_status("acme").move.phase == "switched"


def test_finish_closes_the_way_back(clients: Clients, works: Works, fleet: Fleet) -> None:
    """As `move finish` does: the step that waits is approved."""
    run = works.move("acme", at="keep")
    assert press(sign_in(clients.open()), run, "finish") == 303
    assert [step.approved_by for step in fleet.steps(run) if step.approved_by] == ["ada (dashboard)"]


def test_a_change_is_undone_by_whoever_carries_it(clients: Clients, works: Works, fleet: Fleet) -> None:
    """A wish that the change's worker hears."""
    run = works.change()
    assert press(sign_in(clients.open()), run, "undo") == 303
    assert durable(fleet, run).wish == "cancel"


@pytest.mark.parametrize(
    ("state", "action", "phase"),
    [("moving", "cancel", "stopping"), ("moved", "finish", "moved"), ("moved", "undo", "moved")],
)
def test_a_rebalance_is_ended_by_whoever_carries_it(
    clients: Clients, works: Works, fleet: Fleet, state: str, action: str, phase: str
) -> None:
    """The button writes down what is wanted; nobody is moved in the request."""
    run = works.rebalance(state=state)
    assert press(sign_in(clients.open()), run, action) == 303
    assert fleet.rebalance_status().rebalance.phase == phase
    assert durable(fleet, run).direction == ("back" if action == "undo" else "forward")


def test_what_cannot_be_taken_back_is_asked_first(clients: Clients, works: Works, fleet: Fleet) -> None:
    """The page says what will be lost, and does nothing yet."""
    run = works.move("acme", at="keep")
    client = sign_in(clients.open())
    page = client.get(f"/runs/{run}").text
    assert f'href="/runs/{run}/finish"' in page
    assert f'action="/runs/{run}/finish"' not in page
    question = client.get(f"/runs/{run}/finish").text
    assert "shard_0 are deleted, for good" in question
    assert "move finish acme" in question
    assert durable(fleet, run).state == "waiting"


def test_without_signing_in_nobody_acts(clients: Clients, works: Works, fleet: Fleet) -> None:
    """No button does anything, and the question leads to the door."""
    run = works.durable(detached.KIND, target="head")
    client = clients.open()
    assert act(client, f"/runs/{run}/pause", form="").status_code == 403
    assert client.get(f"/runs/{run}/cancel").headers["location"] == f"/sign-in?then=/runs/{run}/cancel"
    assert durable(fleet, run).state == "queued"


def test_a_form_of_another_session_does_nothing(clients: Clients, works: Works, fleet: Fleet) -> None:
    """Not even of the same person's."""
    run = works.durable(detached.KIND, target="head")
    client = sign_in(clients.open())
    other = form_token(sign_in(clients.open()))
    assert act(client, f"/runs/{run}/pause", form=other).status_code == 403
    assert durable(fleet, run).state == "queued"


def test_who_has_signed_out_acts_no_more(clients: Clients, works: Works, fleet: Fleet) -> None:
    """Also with the cookie that somebody has kept."""
    run = works.durable(detached.KIND, target="head")
    client = sign_in(clients.open())
    form, cookies = form_token(client), dict(client.cookies)
    assert act(client, "/sign-out", form=form).status_code == 303
    client.cookies.update(cookies)
    assert act(client, f"/runs/{run}/pause", form=form).status_code == 403
    assert durable(fleet, run).state == "queued"


@pytest.mark.parametrize("action", ["resume", "approve", "finish", "drop", "../../x"])
def test_what_does_not_fit_the_state_is_refused_with_the_reason(clients: Clients, works: Works, action: str) -> None:
    """The run is shown as it is, and nothing is done."""
    run = works.durable(detached.KIND, target="head")
    client = sign_in(clients.open())
    answer = act(client, f"/runs/{run}/{action}", form=form_token(client))
    assert answer.status_code in (404, 409)
    if answer.status_code == 409:
        assert "queued" in answer.text


def test_a_button_pressed_twice_is_no_fault(clients: Clients, works: Works, fleet: Fleet) -> None:
    """The second one hears how the run stands."""
    run = works.durable(detached.KIND, target="head")
    client = sign_in(clients.open())
    assert press(client, run, "pause") == 303
    assert press(client, run, "pause") == 409
    assert durable(fleet, run).state == "paused"


def test_a_run_that_nobody_carries_says_so(clients: Clients, works: Works) -> None:
    """With the command that helps."""
    run = works.durable(detached.KIND, target="head")
    assert "no worker is running" in clients.open().get(f"/runs/{run}").text
    assert "<code>shardwright worker</code>" in clients.open().get(f"/runs/{run}").text


def test_without_a_token_the_page_tells_the_commands(clients: Clients, works: Works) -> None:
    """Buttons that nobody may press are not shown."""
    run = works.durable(moving.KIND)
    page = clients.open(token=None).get(f"/runs/{run}").text
    assert f"shardwright runs pause {run}" in page
    assert "<form method" not in page


def test_the_control_database_may_be_away(clients: Clients, works: Works, fleet: Fleet) -> None:
    """The button says so, with 503; nothing else breaks."""
    run = works.durable(detached.KIND, target="head")
    client = sign_in(clients.open())
    form = form_token(client)
    control = fleet.resolved.control
    with psycopg.connect(fleet.resolved.shards[0].url.conninfo, autocommit=True) as admin:
        name = psycopg.sql.Identifier(control.database)
        admin.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        answer = act(client, f"/runs/{run}/pause", form=form)
        assert answer.status_code == 503
        assert client.get("/").status_code == 200
        admin.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    assert durable(fleet, run).state == "queued"
