-- What was decided about a rollout of all shards or none (two-phase commit). What is not decided is not committed.
CREATE TABLE shardwright.decision (
    run        bigint PRIMARY KEY REFERENCES shardwright.run (id),
    decision   text CHECK (decision IN ('commit', 'abort')),
    decided_at timestamptz,
    settled_at timestamptz,
    taken_over boolean NOT NULL DEFAULT false,
    CHECK ((decision IS NULL) = (decided_at IS NULL)),
    CHECK (settled_at IS NULL OR decision IS NOT NULL)
);

-- Names of prepared transactions are unique on a whole server, which two fleets may share.
ALTER TABLE shardwright.shard_set ADD COLUMN token text NOT NULL
    DEFAULT substr(replace(gen_random_uuid()::text, '-', ''), 1, 12);
