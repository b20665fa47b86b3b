"""A change under traffic: what was acknowledged is where its tenant is, once, wherever the change ends."""

from __future__ import annotations

from changes import MakeChanging


def test_first(make_changing: MakeChanging) -> None:
    """x"""
    arena = make_changing(2, 3, shaped=True)
    arena.write()
    run = arena.begin()
    arena.go_on()
    arena.switch([arena.tenants[0]])
    arena.go_on()
    arena.switch()
    arena.go_on()
    arena.finish()
    arena.require_all(at_green=True)
    arena.require_proven()
    arena.require_nothing_left()
