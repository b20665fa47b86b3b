-- Rebalances: one line for each run of that kind, with what the run's steps and operators tell each other of it.
CREATE TABLE shardwright.rebalance (
    run       bigint PRIMARY KEY REFERENCES shardwright.run (id),
    shard_set text NOT NULL REFERENCES shardwright.shard_set (name),
    phase     text NOT NULL DEFAULT 'moving' CHECK (phase IN (
                  'moving', 'stopping', 'moved', 'returning', 'finishing', 'done', 'undone')),
    emptied   text[] NOT NULL DEFAULT '{}' -- the shards that nobody is to be left on
);

-- A set has one rebalance at a time: 'done' (its sources are cleaned) and 'undone' are ends.
CREATE UNIQUE INDEX rebalance_open ON shardwright.rebalance (shard_set) WHERE phase NOT IN ('done', 'undone');
CREATE INDEX rebalance_by_set ON shardwright.rebalance (shard_set, run DESC);

-- One line for each planned move. It gets its run in the transaction that makes the run: none is made twice.
CREATE TABLE shardwright.rebalance_move (
    rebalance bigint NOT NULL REFERENCES shardwright.rebalance (run),
    number    integer NOT NULL,
    round     integer NOT NULL, -- those of one round go on at once, and the next waits for them
    tenant    text COLLATE "C" NOT NULL CHECK (octet_length(tenant) <= 2000),
    source    text NOT NULL,
    target    text NOT NULL CHECK (target <> source),
    epoch     bigint NOT NULL, -- of the placement, when this was planned
    bytes     bigint NOT NULL,
    rows      bigint NOT NULL,
    writes    double precision NOT NULL,
    load      double precision NOT NULL,
    why       text NOT NULL,
    state     text NOT NULL DEFAULT 'planned' CHECK (state IN (
                  'planned', 'begun', 'moved', 'failed', 'returned', 'kept', 'refused', 'dropped')),
    run       bigint UNIQUE REFERENCES shardwright.run (id),
    note      text, -- why it is in that state
    PRIMARY KEY (rebalance, number),
    CHECK ((run IS NULL) = (state IN ('planned', 'refused', 'dropped')))
);

-- A tenant is moved once by a rebalance, so that it can be taken back whole.
CREATE UNIQUE INDEX rebalance_move_once ON shardwright.rebalance_move (rebalance, tenant) WHERE run IS NOT NULL;

-- A set with an open blue-green change has no open rebalance, and the other way round.
CREATE FUNCTION shardwright.guard_rebalance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM shardwright.shard_set WHERE name = NEW.shard_set FOR UPDATE;
    IF EXISTS (SELECT FROM shardwright.bluegreen
               WHERE shard_set = NEW.shard_set AND phase NOT IN ('done', 'undone')) THEN
        RAISE EXCEPTION 'the set has an open blue-green change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER guard_rebalance BEFORE INSERT ON shardwright.rebalance
FOR EACH ROW EXECUTE FUNCTION shardwright.guard_rebalance();

CREATE OR REPLACE FUNCTION shardwright.guard_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM shardwright.shard_set WHERE name = NEW.shard_set FOR UPDATE;
    IF EXISTS (SELECT FROM shardwright.move WHERE shard_set = NEW.shard_set AND phase NOT IN ('kept', 'undone'))
       OR EXISTS (SELECT FROM shardwright.rebalance
                  WHERE shard_set = NEW.shard_set AND phase NOT IN ('done', 'undone')) THEN
        RAISE EXCEPTION 'the set has open moves' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

-- A run that was cancelled has taken everything back, or had not begun: then no step says that it is over.
CREATE FUNCTION shardwright.end_rebalance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shardwright.rebalance SET phase = 'undone' WHERE run = NEW.id AND phase NOT IN ('done', 'undone');
    UPDATE shardwright.rebalance_move SET state = 'dropped', note = NEW.note WHERE rebalance = NEW.id AND state = 'planned';
    RETURN NULL;
END
$$;

CREATE TRIGGER end_rebalance AFTER UPDATE OF state ON shardwright.run
FOR EACH ROW WHEN (NEW.state = 'cancelled' AND NEW.kind = 'rebalance') EXECUTE FUNCTION shardwright.end_rebalance();
