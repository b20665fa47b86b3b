-- Runs that survive the process they began in: a frozen plan, named steps, whoever has them in hand, what operators wish.
ALTER TABLE shardwright.run DROP CONSTRAINT run_state_check;
ALTER TABLE shardwright.run DROP CONSTRAINT run_check;
ALTER TABLE shardwright.run
    ADD COLUMN durable     boolean NOT NULL DEFAULT false,
    ADD COLUMN protocol    integer NOT NULL DEFAULT 1,
    ADD COLUMN direction   text NOT NULL DEFAULT 'forward' CHECK (direction IN ('forward', 'back')),
    ADD COLUMN hosts       text[] NOT NULL DEFAULT '{}',
    ADD COLUMN runner      integer NOT NULL DEFAULT 0,
    ADD COLUMN worker      text,
    ADD COLUMN beat_at     timestamptz,
    ADD COLUMN takeovers   integer NOT NULL DEFAULT 0,
    ADD COLUMN wish        text CHECK (wish IN ('cancel', 'pause')),
    ADD COLUMN waits_for   text,
    ADD COLUMN progress    jsonb,
    ADD CONSTRAINT run_state CHECK (state IN (
        'queued', 'running', 'waiting', 'paused', 'parked', 'finished', 'cancelled', 'interrupted', 'abandoned')),
    ADD CONSTRAINT run_end CHECK (
        (state IN ('finished', 'cancelled', 'interrupted', 'abandoned')) = (finished_at IS NOT NULL)),
    ADD CONSTRAINT run_waits CHECK (state <> 'waiting' OR waits_for IS NOT NULL);

CREATE INDEX run_open ON shardwright.run (shard_set, id) WHERE durable AND finished_at IS NULL;

-- Which state may follow which, and why it does. Whoever writes a run's state, by hand too, is held to it.
CREATE TABLE shardwright.run_arrow (
    before text NOT NULL,
    after  text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (before, after)
);

INSERT INTO shardwright.run_arrow (before, after, reason) VALUES
    ('queued', 'running', 'a worker has a place for it'),
    ('queued', 'paused', 'an operator paused it'),
    ('queued', 'cancelled', 'an operator cancelled it before anything was done'),
    ('running', 'queued', 'its worker has let it go'),
    ('running', 'waiting', 'its next step waits for an operator'),
    ('running', 'paused', 'an operator paused it'),
    ('running', 'parked', 'a step failed, or its workers died too often'),
    ('running', 'finished', 'every step is done'),
    ('running', 'cancelled', 'every step that was done is undone'),
    ('running', 'interrupted', 'the operator who ran it stopped it'),
    ('running', 'abandoned', 'its process died, and the shards say how far it came'),
    ('abandoned', 'finished', 'another process brought it to its end'),
    ('waiting', 'queued', 'an operator approved or cancelled it'),
    ('paused', 'queued', 'an operator resumed or cancelled it'),
    ('parked', 'queued', 'an operator resumed or cancelled it');

CREATE FUNCTION shardwright.guard_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND NOT EXISTS (
        SELECT FROM shardwright.run_arrow WHERE before = OLD.state AND after = NEW.state
    ) THEN
        RAISE EXCEPTION 'run % is %, and can''t become %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.runner < OLD.runner THEN
        RAISE EXCEPTION 'run % was taken over', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER guard_run BEFORE UPDATE ON shardwright.run FOR EACH ROW EXECUTE FUNCTION shardwright.guard_run();

-- The steps as they were when the run was made: a newer version of the tool does these, by name, or says that it can't.
CREATE TABLE shardwright.run_step (
    run         bigint NOT NULL REFERENCES shardwright.run (id),
    position    integer NOT NULL,
    name        text NOT NULL,
    state       text NOT NULL DEFAULT 'to do' CHECK (state IN ('to do', 'begun', 'done', 'undone')),
    is_final    boolean NOT NULL,
    approval    text,
    approved_by text,
    attempts    integer NOT NULL DEFAULT 0,
    result      jsonb NOT NULL DEFAULT '{}',
    begun_at    timestamptz,
    ended_at    timestamptz,
    PRIMARY KEY (run, position),
    UNIQUE (run, name)
);

-- What happened, in order, for whoever follows a run or reads of it later.
CREATE TABLE shardwright.run_event (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run  bigint NOT NULL REFERENCES shardwright.run (id),
    at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL CHECK (kind IN ('state', 'step', 'progress', 'message')),
    data jsonb NOT NULL
);

CREATE INDEX run_event_by_run ON shardwright.run_event (run, id);

-- Processes that take runs; one that has not been heard of for long is dead.
CREATE TABLE shardwright.worker (
    id         text PRIMARY KEY,
    shard_set  text NOT NULL,
    host       text NOT NULL,
    process    integer NOT NULL,
    at_once    integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    left_at    timestamptz
);
