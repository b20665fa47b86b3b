-- Who did what to which shard, when, and how it ended. Kept for ever.
CREATE TABLE shardwright.run (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    shard_set   text NOT NULL,
    state       text NOT NULL DEFAULT 'running'
                CHECK (state IN ('running', 'finished', 'interrupted', 'abandoned')),
    target      text,
    plan        jsonb NOT NULL,
    undoes      bigint REFERENCES shardwright.run (id),
    started_by  text NOT NULL,
    started_on  text NOT NULL,
    process     integer NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    exit_code   integer,
    note        text,
    CHECK ((state = 'running') = (finished_at IS NULL))
);

CREATE INDEX run_by_kind ON shardwright.run (shard_set, kind, id DESC);

CREATE TABLE shardwright.run_shard (
    run            bigint NOT NULL REFERENCES shardwright.run (id),
    shard          text NOT NULL,
    status         text NOT NULL,
    from_revisions text[],
    to_revisions   text[],
    seconds        double precision NOT NULL DEFAULT 0,
    attempts       integer NOT NULL DEFAULT 0,
    error          text,
    hint           text,
    changed_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run, shard)
);

CREATE INDEX run_shard_by_revision ON shardwright.run_shard USING gin (to_revisions);
