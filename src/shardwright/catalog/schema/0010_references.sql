-- How far a check of references has come on each shard, so that one that was stopped goes on where it was.
CREATE TABLE shardwright.reference_check (
    shard_set text NOT NULL,
    reference text NOT NULL,
    shard     text NOT NULL,
    shape     text NOT NULL, -- of the tables' keys and columns: with another one it begins anew
    after     text[] NOT NULL, -- the key of the last row that was read
    rows      bigint NOT NULL,
    dangling  bigint NOT NULL,
    undecided bigint NOT NULL,
    examples  jsonb NOT NULL,
    is_done   boolean NOT NULL,
    told_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (shard_set, reference, shard)
);
