-- Alerts that fire, and those that did: one line from the first word of a trouble until it is over. What several processes
-- find (a worker of `serve`, a `check --alert` of cron) is told once, by whoever writes the line.
CREATE TABLE shardwright.alert (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard_set   text NOT NULL,
    rule        text NOT NULL,
    subject     text NOT NULL,
    severity    text NOT NULL CHECK (severity IN ('critical', 'warning')),
    fact        text NOT NULL,
    cure        text NOT NULL,
    since       timestamptz NOT NULL,
    resolved_at timestamptz,
    -- What each receiver has heard of it: {"webhook": "firing"}. Who has not heard how it stands is told again.
    told        jsonb NOT NULL DEFAULT '{}',
    tries       integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE UNIQUE INDEX alert_firing ON shardwright.alert (shard_set, rule, md5(subject)) WHERE resolved_at IS NULL;
CREATE INDEX alert_by_set ON shardwright.alert (shard_set, id DESC);
