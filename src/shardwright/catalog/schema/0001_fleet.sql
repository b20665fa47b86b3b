-- The shards that have been worked on; their URLs, which hold secrets, stay in shardwright.toml.
CREATE TABLE shardwright.shard_set (
    name     text PRIMARY KEY,
    added_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shardwright.shard (
    shard_set  text NOT NULL REFERENCES shardwright.shard_set (name),
    name       text NOT NULL,
    host       text NOT NULL,
    database   text NOT NULL,
    labels     jsonb NOT NULL DEFAULT '{}',
    added_at   timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    PRIMARY KEY (shard_set, name)
);
