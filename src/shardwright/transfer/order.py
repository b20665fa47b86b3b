"""In which order tables are filled, so that a row's parents are there before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

Node = TypeVar("Node")


def parents_first(parents: Mapping[Node, Iterable[Node]]) -> list[tuple[Node, ...]]:
    """The keys of `parents` in groups, each after the groups its members need; a cycle is one group.

    Deterministic: among groups that need nothing of each other, the order of `parents` counts. Parents that are no
    keys are passed over. Kosaraju's algorithm.
    """
    children: dict[Node, list[Node]] = {node: [] for node in parents}
    for node, above in parents.items():
        for parent in above:
            if parent in children:
                children[parent].append(node)
    ups = {node: [parent for parent in above if parent in children] for node, above in parents.items()}
    place = {node: index for index, node in enumerate(parents)}
    seen: set[Node] = set()
    finished = [node for start in parents for node in _postorder(start, ups, seen)]
    # In `finished` a cycle's members stand behind all they need, and its first member behind no later cycle's.
    seen = set()
    groups = [_postorder(node, children, seen) for node in reversed(finished) if node not in seen]
    return [tuple(sorted(group, key=place.__getitem__)) for group in reversed(groups)]


def _postorder(start: Node, edges: Mapping[Node, list[Node]], seen: set[Node]) -> list[Node]:
    """What is reached from `start` and not `seen` before, each after what it leads to; without recursion."""
    if start in seen:
        return []
    seen.add(start)
    finished = []
    stack = [(start, iter(edges[start]))]
    while stack:
        node, ahead = stack[-1]
        following = next((each for each in ahead if each not in seen), None)
        if following is None:
            finished.append(node)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(edges[following])))
    return finished
