-- How heavy each tenant is, as last measured. `writes` is null until a second measurement tells how many were made since.
CREATE TABLE shardwright.load (
    shard_set   text NOT NULL,
    tenant      text COLLATE "C" NOT NULL CHECK (octet_length(tenant) <= 2000),
    shard       text NOT NULL, -- where it was measured
    measured_at timestamptz NOT NULL,
    rows        bigint NOT NULL CHECK (rows >= 0),
    bytes       bigint NOT NULL CHECK (bytes >= 0),
    writes      double precision CHECK (writes >= 0), -- rows a second
    custom      double precision NOT NULL DEFAULT 0 CHECK (custom >= 0),
    labels      jsonb NOT NULL DEFAULT '{}',
    rows_of     jsonb NOT NULL DEFAULT '{}', -- by table: whose rows were deleted is seen by what is gone
    PRIMARY KEY (shard_set, tenant)
) WITH (fillfactor = 70);

CREATE INDEX load_by_shard ON shardwright.load (shard_set, shard);

-- What each shard carried then; and its counters, from which the next measurement counts writes. The counters may be
-- older than the rest: two measurements in quick succession count from the same ones.
CREATE TABLE shardwright.load_shard (
    shard_set      text NOT NULL,
    shard          text NOT NULL,
    measured_at    timestamptz NOT NULL,
    seconds        double precision NOT NULL,
    database_bytes bigint NOT NULL,
    tenants        bigint NOT NULL,
    rows           bigint NOT NULL,
    bytes          bigint NOT NULL,
    writes         double precision NOT NULL,
    custom         double precision NOT NULL,
    strangers      bigint NOT NULL, -- tenants that the directory has elsewhere, or not at all
    sampled        jsonb NOT NULL, -- tables of which only a share was read
    unread         jsonb NOT NULL, -- tables that are not in it
    counted_from   timestamptz NOT NULL, -- by the clock of this database
    counted_at     timestamptz NOT NULL, -- by the shard's own
    xid            bigint NOT NULL,
    counters       jsonb NOT NULL,
    PRIMARY KEY (shard_set, shard)
);

-- What it was before: the last measurement of each hour for a day, of each day for thirty (a shard's: for ninety, and of
-- each month for ever).
CREATE TABLE shardwright.load_history (
    shard_set text NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    grain     text NOT NULL CHECK (grain IN ('hour', 'day')),
    at        timestamptz NOT NULL, -- when that hour or day began
    shard     text NOT NULL,
    rows      bigint NOT NULL,
    bytes     bigint NOT NULL,
    writes    double precision,
    custom    double precision NOT NULL,
    PRIMARY KEY (shard_set, tenant, grain, at)
);

CREATE TABLE shardwright.load_shard_history (
    shard_set text NOT NULL,
    shard     text NOT NULL,
    grain     text NOT NULL CHECK (grain IN ('hour', 'day', 'month')),
    at        timestamptz NOT NULL,
    tenants   bigint NOT NULL,
    rows      bigint NOT NULL,
    bytes     bigint NOT NULL,
    writes    double precision NOT NULL,
    custom    double precision NOT NULL,
    PRIMARY KEY (shard_set, shard, grain, at)
);
