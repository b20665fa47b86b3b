"""How long a trouble must last to be told, and be gone to be over."""

from __future__ import annotations

from datetime import timedelta

from pictures import away, config, picture, vitals
from shardwright.monitor.alerts.alert import Alert, Key
from shardwright.monitor.alerts.damping import Damping
from shardwright.monitor.alerts.rules import judge
from shardwright.monitor.picture import Picture

KEY: Key = ("shard_down", "shard_0")


class Teller:
    """Damping with a memory of what was told, a step a picture: `+` begun, `-` over, `.` neither."""

    def __init__(self, hold: float) -> None:
        self.damping = Damping(timedelta(seconds=hold))
        self.firing: dict[Key, Alert] = {}

    def see(self, one: Picture) -> str:
        turn = self.damping.turn(judge(one, config('[alerts]\noff = ["drift"]\n')), self.firing, one.at)
        for alert in turn.begun:
            self.firing[alert.key] = alert
        for alert in turn.over:
            del self.firing[alert.key]
        return "+" * len(turn.begun) + "-" * len(turn.over) or "."

    def watch(self, course: str, every: float = 10) -> str:
        """What is told of a shard that is down at each `x` of the course, and up at each `_`."""
        shards = {"x": away(), "_": vitals()}
        return "".join(self.see(picture(shards[at], seconds=n * every)) for n, at in enumerate(course))


def test_a_trouble_is_told_once_it_has_lasted() -> None:
    """And once only."""
    assert Teller(30).watch("xxxxxxx") == "...+..."


def test_a_trouble_is_over_once_it_has_been_gone_for_as_long() -> None:
    """And is said to be over once."""
    assert Teller(30).watch("xxxx______") == "...+...-.."


def test_what_comes_and_goes_is_told_once() -> None:
    """Neither each time it comes, nor each time it goes; what never lasts is not told at all."""
    assert Teller(30).watch("xxxx__x_x__x___x____") == "...+..............." + "-"
    assert Teller(30).watch("x_x_x_x_x_x_") == "............"


def test_without_a_hold_it_is_told_and_over_at_once() -> None:
    """As for cron, which looks once in a while."""
    assert Teller(0).watch("x_x") == "+-+"


def test_an_alert_began_when_its_trouble_was_first_seen() -> None:
    """Not when it was told."""
    teller = Teller(30)
    teller.watch("_xxxx")
    assert teller.firing[KEY].since == picture(seconds=10).at


def test_what_can_not_be_told_now_is_neither_over_nor_new() -> None:
    """A host that is away tells nothing of its connections: when it is back, the same trouble goes on."""
    teller = Teller(20)
    full, unknown = vitals(connections=95), away()
    course = [full, full, full, unknown, unknown, unknown, unknown, full]
    told = [teller.see(picture(shard, seconds=n * 10)) for n, shard in enumerate(course)]
    assert told[:3] == [".", ".", "+"]
    assert ("connections", "db1:5432") in teller.firing
    assert told[7] == "."
