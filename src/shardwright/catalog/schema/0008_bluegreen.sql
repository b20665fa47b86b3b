-- A shard that is closed to new tenants keeps those it has: a green one until its change is switched, a blue one after.
ALTER TABLE shardwright.shard ADD COLUMN takes_new boolean NOT NULL DEFAULT true;

-- Blue-green changes: one line for each run of that kind, with what the run's steps and operators tell each other of it.
CREATE TABLE shardwright.bluegreen (
    run         bigint PRIMARY KEY REFERENCES shardwright.run (id),
    shard_set   text NOT NULL REFERENCES shardwright.shard_set (name),
    phase       text NOT NULL DEFAULT 'building' CHECK (phase IN (
                    'building', 'in_step', 'switched', 'returning', 'cleaning', 'done', 'undone')),
    throttle    jsonb NOT NULL DEFAULT '{}',
    switched_at timestamptz,
    keep_until  timestamptz
);

-- A set has one change at a time: 'done' (green is the set) and 'undone' (blue is) are ends.
CREATE UNIQUE INDEX bluegreen_open ON shardwright.bluegreen (shard_set) WHERE phase NOT IN ('done', 'undone');
CREATE INDEX bluegreen_by_set ON shardwright.bluegreen (shard_set, run DESC);

-- A set with an open change has no open move, and the other way round: each would take the other's tenants away from it.
CREATE FUNCTION shardwright.guard_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM shardwright.shard_set WHERE name = NEW.shard_set FOR UPDATE;
    IF EXISTS (SELECT FROM shardwright.move WHERE shard_set = NEW.shard_set AND phase NOT IN ('kept', 'undone')) THEN
        RAISE EXCEPTION 'the set has open moves' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION shardwright.guard_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM shardwright.shard_set WHERE name = NEW.shard_set FOR SHARE;
    IF EXISTS (SELECT FROM shardwright.bluegreen
               WHERE shard_set = NEW.shard_set AND phase NOT IN ('done', 'undone')) THEN
        RAISE EXCEPTION 'the set has an open blue-green change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER guard_change BEFORE INSERT ON shardwright.bluegreen
FOR EACH ROW EXECUTE FUNCTION shardwright.guard_change();
CREATE TRIGGER guard_move BEFORE INSERT ON shardwright.move FOR EACH ROW EXECUTE FUNCTION shardwright.guard_move();

-- Each tenant's lane, from its blue shard to its green one, and how its own switch went.
CREATE TABLE shardwright.bluegreen_tenant (
    run         bigint NOT NULL REFERENCES shardwright.bluegreen (run),
    tenant      text COLLATE "C" NOT NULL CHECK (octet_length(tenant) <= 2000),
    blue        text NOT NULL,
    green       text NOT NULL CHECK (green <> blue),
    epoch       bigint NOT NULL,
    at_green    boolean NOT NULL DEFAULT false,
    write_gap   jsonb,
    certificate jsonb,
    switched_at timestamptz,
    PRIMARY KEY (run, tenant)
);

CREATE INDEX bluegreen_tenant_by_lane ON shardwright.bluegreen_tenant (run, blue, green, tenant);

-- How far each lane is behind, told once a second by whoever carries the run; null: not known.
CREATE TABLE shardwright.bluegreen_lane (
    run              bigint NOT NULL REFERENCES shardwright.bluegreen (run),
    blue             text NOT NULL,
    green            text NOT NULL CHECK (green <> blue),
    everybody_at_green boolean NOT NULL DEFAULT false, -- shared rows and new tenants are written there
    keys             bigint CHECK (keys >= 0),
    lag_seconds      double precision CHECK (lag_seconds >= 0),
    back_keys        bigint CHECK (back_keys >= 0),
    back_lag_seconds double precision CHECK (back_lag_seconds >= 0),
    rows             bigint CHECK (rows >= 0),
    at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, blue, green)
);

-- What operators want of an open change: all its tenants, these, or a share of them.
CREATE TABLE shardwright.bluegreen_order (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run     bigint NOT NULL REFERENCES shardwright.bluegreen (run),
    kind    text NOT NULL CHECK (kind IN ('switch', 'undo', 'finish')),
    tenants text[],
    share   double precision CHECK (share > 0 AND share <= 1),
    leave_writable boolean NOT NULL DEFAULT false, -- of the blue shards, when the change is finished
    by      text NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz,
    note    text,
    CHECK (tenants IS NULL OR share IS NULL)
);

CREATE INDEX bluegreen_order_open ON shardwright.bluegreen_order (run, id) WHERE done_at IS NULL;

-- A run that was cancelled before it had begun has no step to take back, which would say that the change is over.
CREATE FUNCTION shardwright.end_bluegreen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shardwright.bluegreen SET phase = 'undone' WHERE run = NEW.id AND phase = 'building';
    RETURN NULL;
END
$$;

CREATE TRIGGER end_bluegreen AFTER UPDATE OF state ON shardwright.run
FOR EACH ROW WHEN (NEW.state = 'cancelled') EXECUTE FUNCTION shardwright.end_bluegreen();
