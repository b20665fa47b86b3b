-- name: create
INSERT INTO shardwright.run
    (kind, shard_set, state, target, plan, hosts, durable, protocol, started_by, started_on, process)
VALUES (%(kind)s, %(shard_set)s, 'queued', %(target)s, %(plan)s, %(hosts)s, true, %(protocol)s, %(started_by)s,
        %(started_on)s, %(process)s)
RETURNING id

-- name: create_steps
INSERT INTO shardwright.run_step (run, position, name, is_final, approval)
SELECT %(run)s, step.position, step.name, step.is_final, step.approval
FROM unnest(%(names)s::text[], %(finals)s::boolean[], %(approvals)s::text[])
     WITH ORDINALITY AS step (name, is_final, approval, position)

-- name: durable_run
SELECT id, kind, shard_set, state, direction, target, plan, hosts, protocol, runner, worker, takeovers, wish, waits_for,
       progress, note,
       extract('epoch' FROM clock_timestamp() - beat_at)::float
FROM shardwright.run
WHERE id = %(run)s AND durable

-- name: hold
-- Nobody else changes the run until this transaction ends.
SELECT true FROM shardwright.run WHERE id = %(run)s FOR UPDATE

-- name: hold_as
-- The same for whoever has it in hand.
SELECT true FROM shardwright.run WHERE id = %(run)s AND runner = %(runner)s AND state = 'running' FOR UPDATE

-- name: due
SELECT id, waits_for
FROM shardwright.run
WHERE durable AND state = 'waiting' AND shard_set = %(shard_set)s AND wake_at < clock_timestamp()
ORDER BY id
FOR UPDATE SKIP LOCKED

-- name: steps
SELECT name, state, is_final, approval, approved_by, attempts, result, begun_at, ended_at
FROM shardwright.run_step
WHERE run = %(run)s
ORDER BY position

-- name: lock_queue
-- One worker at a time looks for what may begin, and for what has lost its worker.
SELECT pg_catalog.pg_advisory_xact_lock(%(class)s, %(key)s)

-- name: admissible
-- The first run in the queue for which there is a place, in all and on each of its hosts. A place is taken by a run
-- that is running, and by nothing else: none can be lost.
WITH open AS (
    SELECT id, hosts, state, protocol FROM shardwright.run WHERE durable AND finished_at IS NULL AND shard_set = %(shard_set)s
), taken AS (
    SELECT host, count(*) AS runs FROM open, unnest(open.hosts) AS host WHERE open.state = 'running' GROUP BY host
)
SELECT open.id
FROM open
WHERE open.state = 'queued' AND open.protocol <= %(protocol)s
  AND (%(only)s::bigint IS NULL OR open.id = %(only)s)
  AND (SELECT count(*) FROM open AS running WHERE running.state = 'running') < %(at_once)s
  AND NOT EXISTS (SELECT FROM taken WHERE taken.host = ANY (open.hosts) AND taken.runs >= %(per_host)s)
ORDER BY open.id
LIMIT 1

-- name: admit
UPDATE shardwright.run
SET state = 'running', runner = runner + 1, worker = NULL, beat_at = clock_timestamp(), waits_for = NULL, note = NULL
WHERE id = %(run)s AND state = 'queued'
RETURNING runner

-- name: take
UPDATE shardwright.run
SET worker = %(worker)s, beat_at = clock_timestamp()
WHERE id = %(run)s AND runner = %(runner)s AND state = 'running' AND shard_set = %(shard_set)s
  AND (worker IS NULL OR worker = %(worker)s)
RETURNING id

-- name: is_promised
SELECT true FROM shardwright.run WHERE id = %(run)s AND runner = %(runner)s AND state = 'running' AND worker IS NULL

-- name: beat
-- Of the runs that a process has in hand those that it still has, with what operators wish. A run that stands in its
-- name, but that it has lost sight of, is kept alive by nobody.
UPDATE shardwright.run
SET beat_at = clock_timestamp()
FROM unnest(%(runs)s::bigint[], %(runners)s::integer[]) AS hand (run, runner)
WHERE run.id = hand.run AND run.runner = hand.runner AND run.worker = %(worker)s AND run.state = 'running'
RETURNING run.id, run.runner, run.wish

-- name: beat_worker
INSERT INTO shardwright.worker (id, shard_set, host, process, at_once)
VALUES (%(worker)s, %(shard_set)s, %(host)s, %(process)s, %(at_once)s)
ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp()

-- name: leave
UPDATE shardwright.worker SET left_at = clock_timestamp() WHERE id = %(worker)s

-- name: workers
SELECT id, host, process, at_once, started_at, extract('epoch' FROM clock_timestamp() - beat_at)::float
FROM shardwright.worker
WHERE shard_set = %(shard_set)s AND left_at IS NULL AND beat_at > clock_timestamp() - interval '1 hour'
ORDER BY started_at

-- name: lost
-- Runs whose worker has not been heard of for longer than the time to live, or that none has fetched. One that is
-- locked is being written, so somebody is alive.
SELECT id, runner, worker, takeovers
FROM shardwright.run
WHERE durable AND state = 'running' AND shard_set = %(shard_set)s
  AND beat_at < clock_timestamp() - make_interval(secs => %(time_to_live)s)
  AND (%(only)s::bigint IS NULL OR id = %(only)s)
ORDER BY id
FOR UPDATE SKIP LOCKED

-- name: take_over
UPDATE shardwright.run
SET state = 'queued', runner = runner + 1, worker = NULL,
    takeovers = takeovers + (worker IS NOT NULL)::int
WHERE id = %(run)s AND runner = %(runner)s AND state = 'running'

-- name: leave_running
-- From running to another state, by whoever has it in hand; nobody else's word counts.
UPDATE shardwright.run
SET state = %(state)s, worker = NULL, waits_for = %(waits_for)s, note = %(note)s,
    wake_at = clock_timestamp() + make_interval(secs => %(at_most)s),
    exit_code = %(exit_code)s,
    takeovers = CASE WHEN %(state)s = 'parked' THEN 0 ELSE takeovers END,
    finished_at = CASE WHEN %(state)s IN ('finished', 'cancelled') THEN clock_timestamp() END
WHERE id = %(run)s AND runner = %(runner)s AND state = 'running'
RETURNING wish

-- name: turn_back
UPDATE shardwright.run
SET wish = NULL, direction = CASE WHEN EXISTS (
        SELECT FROM shardwright.run_step WHERE run = %(run)s AND is_final AND state IN ('begun', 'done')
    ) THEN direction ELSE 'back' END
WHERE id = %(run)s AND runner = %(runner)s AND state = 'running'
RETURNING direction

-- name: forget_wish
UPDATE shardwright.run SET wish = NULL WHERE id = %(run)s

-- name: write_step
-- The run's row is locked first: whoever takes it over comes before this, or after. Deaths count since the last step.
WITH mine AS (
    UPDATE shardwright.run
    SET beat_at = clock_timestamp(), takeovers = CASE WHEN %(state)s = 'begun' THEN takeovers ELSE 0 END
    WHERE id = %(run)s AND runner = %(runner)s AND state = 'running'
    RETURNING id, wish
)
UPDATE shardwright.run_step AS step
SET state = %(state)s,
    attempts = attempts + (%(state)s = 'begun')::int,
    result = coalesce(%(result)s, result),
    begun_at = CASE WHEN %(state)s = 'begun' THEN coalesce(begun_at, clock_timestamp()) ELSE begun_at END,
    ended_at = CASE WHEN %(state)s IN ('done', 'undone') THEN clock_timestamp() END
FROM mine
WHERE step.run = mine.id AND step.name = %(step)s
RETURNING mine.wish

-- name: write_progress
UPDATE shardwright.run SET progress = %(progress)s
WHERE id = %(run)s AND runner = %(runner)s AND state = 'running'
RETURNING id

-- name: add_event
INSERT INTO shardwright.run_event (run, kind, data) VALUES (%(run)s, %(kind)s, %(data)s)

-- name: events
SELECT id, at, kind, data FROM shardwright.run_event WHERE run = %(run)s AND id > %(after)s ORDER BY id LIMIT 1000

-- name: recent_events
SELECT id, at, kind, data FROM shardwright.run_event WHERE run = %(run)s AND kind <> 'progress' ORDER BY id DESC LIMIT %(most)s

-- name: course
-- The newest moment always; of a run that goes on for days, the last hours.
SELECT at, data
FROM (
    SELECT at, data, row_number() OVER (ORDER BY id DESC) - 1 AS place, count(*) OVER () AS total
    FROM (
        SELECT id, at, data FROM shardwright.run_event
        WHERE run = %(run)s AND kind = 'progress' ORDER BY id DESC LIMIT 20000
    ) AS newest
) AS counted
WHERE place %% greatest(1, total / %(points)s) = 0
ORDER BY at

-- name: progress_samples
-- Since the run was last let go on: what came before a rest says nothing of how fast it goes.
SELECT extract('epoch' FROM at)::float, data
FROM shardwright.run_event
WHERE run = %(run)s AND kind = 'progress'
  AND id > (SELECT max(id) FROM shardwright.run_event WHERE run = %(run)s AND kind = 'state')
ORDER BY id DESC
LIMIT 200

-- name: arrow
SELECT reason FROM shardwright.run_arrow WHERE before = %(before)s AND after = %(after)s

-- name: wish
-- Of a run in somebody's hands: noticed within a heartbeat, or between two steps. Who wished to cancel stays heard.
UPDATE shardwright.run SET wish = CASE WHEN wish = 'cancel' THEN wish ELSE %(wish)s END WHERE id = %(run)s

-- name: operate
-- Of a run in nobody's hands.
UPDATE shardwright.run
SET state = %(state)s,
    wish = NULL,
    direction = CASE WHEN %(back)s THEN 'back' ELSE direction END,
    waits_for = CASE WHEN %(state)s = 'waiting' THEN waits_for END,
    note = %(note)s,
    exit_code = CASE WHEN %(state)s = 'cancelled' THEN 0 END,
    finished_at = CASE WHEN %(state)s = 'cancelled' THEN clock_timestamp() END
WHERE id = %(run)s

-- name: approve
UPDATE shardwright.run_step
SET approved_by = %(by)s
WHERE run = %(run)s AND name = %(step)s
