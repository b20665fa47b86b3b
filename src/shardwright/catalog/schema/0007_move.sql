-- Moves: one line for each run of that kind, with what the run's steps and operators tell each other of it.
CREATE TABLE shardwright.move (
    run          bigint PRIMARY KEY REFERENCES shardwright.run (id),
    shard_set    text NOT NULL,
    tenant       text COLLATE "C" NOT NULL,
    source       text NOT NULL,
    target       text NOT NULL,
    epoch        bigint NOT NULL,
    phase        text NOT NULL DEFAULT 'moving' CHECK (phase IN (
                     'moving', 'given_up', 'switched', 'cleaning', 'returned', 'kept', 'undone')),
    throttle     jsonb NOT NULL DEFAULT '{}',
    write_gap    jsonb,
    certificate  jsonb,
    switched_at  timestamptz,
    keep_until   timestamptz
);

-- A tenant has one move at a time: 'kept' (at the target) and 'undone' (at the source) are ends.
CREATE UNIQUE INDEX move_open ON shardwright.move (shard_set, tenant) WHERE phase NOT IN ('kept', 'undone');
CREATE INDEX move_by_tenant ON shardwright.move (shard_set, tenant, run DESC);

-- A run that waits may be woken by the clock: then its step needs no operator.
ALTER TABLE shardwright.run ADD COLUMN wake_at timestamptz;

-- A run that was cancelled before it had begun has no step to take back, which would say that the move is over.
CREATE FUNCTION shardwright.end_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shardwright.move SET phase = 'undone' WHERE run = NEW.id AND phase = 'moving';
    RETURN NULL;
END
$$;

CREATE TRIGGER end_move AFTER UPDATE OF state ON shardwright.run
FOR EACH ROW WHEN (NEW.state = 'cancelled') EXECUTE FUNCTION shardwright.end_move();
