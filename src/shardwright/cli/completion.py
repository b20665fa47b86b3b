"""What the shell completes besides commands and options: the names of shards. Nothing is started, nobody is asked."""

from __future__ import annotations


def shard_names(incomplete: str) -> list[str]:
    """The fleet's shards whose names begin so; of a list with commas its last name. None where there is no fleet."""
    before, comma, beginning = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _names() if name.startswith(beginning)]


def _names() -> list[str]:
    from shardwright import config, errors  # noqa: PLC0415 --help needs none of it
    from shardwright.embedded.layout import LocalFleet  # noqa: PLC0415
    from shardwright.embedded.state import state_directory  # noqa: PLC0415

    try:
        present = config.load(config.find_file())
        if present.shards:
            return [shard.name for shard in present.shards]
        local = LocalFleet.load(state_directory(present.project))
    except (errors.ShardwrightError, OSError):
        return []  # a shell that completes shows no errors
    return list(local.layout.shards) if local else []
