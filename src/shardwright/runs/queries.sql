-- name: begin_run
INSERT INTO shardwright.run (kind, shard_set, target, plan, undoes, started_by, started_on, process)
VALUES (%(kind)s, %(shard_set)s, %(target)s, %(plan)s, %(undoes)s, %(started_by)s, %(started_on)s, %(process)s)
RETURNING id

-- name: adopt_run
-- A rollout that is the work of a durable run, which has its number already.
UPDATE shardwright.run SET target = %(target)s, plan = plan || %(plan)s WHERE id = %(run)s AND durable

-- name: end_run
UPDATE shardwright.run
SET state = %(state)s, finished_at = clock_timestamp(), exit_code = %(exit_code)s, note = %(note)s
WHERE id = %(run)s AND state = 'running'

-- name: close_run
UPDATE shardwright.run
SET state = 'finished', finished_at = clock_timestamp(), exit_code = %(exit_code)s, note = %(note)s
WHERE id = %(run)s AND state IN ('running', 'abandoned') AND NOT durable

-- name: abandon_runs
UPDATE shardwright.run
SET state = 'abandoned', finished_at = clock_timestamp(), note = %(note)s
WHERE shard_set = %(shard_set)s AND state = 'running' AND NOT durable

-- name: write_results
INSERT INTO shardwright.run_shard
    (run, shard, status, from_revisions, to_revisions, seconds, attempts, error, hint)
SELECT %(run)s, result.shard, result.status,
       string_to_array(result.from_revisions, ','), string_to_array(result.to_revisions, ','),
       result.seconds, result.attempts, result.error, result.hint
FROM unnest(%(shards)s::text[], %(statuses)s::text[], %(from)s::text[], %(to)s::text[], %(seconds)s::float8[],
            %(attempts)s::int[], %(errors)s::text[], %(hints)s::text[])
     AS result (shard, status, from_revisions, to_revisions, seconds, attempts, error, hint)
ON CONFLICT (run, shard) DO UPDATE
SET status = excluded.status, from_revisions = excluded.from_revisions, to_revisions = excluded.to_revisions,
    seconds = excluded.seconds, attempts = excluded.attempts, error = excluded.error, hint = excluded.hint,
    changed_at = clock_timestamp()

-- name: run
SELECT id, kind, shard_set, state, target, undoes, started_by, started_on, process, started_at, finished_at,
       exit_code, note, durable
FROM shardwright.run
WHERE id = %(run)s

-- name: runs
SELECT id, kind, shard_set, state, target, undoes, started_by, started_on, process, started_at, finished_at,
       exit_code, note, durable
FROM shardwright.run
WHERE shard_set = %(shard_set)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s

-- name: plan
SELECT plan FROM shardwright.run WHERE id = %(run)s

-- name: mark
-- The newest event, and of runs without any, which are rollouts of a process's own, the newest result.
SELECT (SELECT max(id) FROM shardwright.run_event), (SELECT max(id) FROM shardwright.run),
       (SELECT max(shard.changed_at) FROM shardwright.run_shard AS shard
        JOIN shardwright.run ON run.id = shard.run WHERE run.state = 'running' AND NOT run.durable)

-- name: open_runs
SELECT id, kind, shard_set, state, target, undoes, started_by, started_on, process, started_at, finished_at,
       exit_code, note, durable,
       extract('epoch' FROM clock_timestamp() - greatest(
           started_at, beat.at,
           (SELECT max(shard.changed_at) FROM shardwright.run_shard AS shard WHERE shard.run = run.id)))::float
FROM shardwright.run
LEFT JOIN LATERAL (
    SELECT event.at FROM shardwright.run_event AS event WHERE event.run = run.id ORDER BY event.id DESC LIMIT 1
) AS beat ON true
WHERE run.shard_set = %(shard_set)s AND run.finished_at IS NULL
ORDER BY run.id

-- name: running
SELECT id, kind, shard_set, state, target, undoes, started_by, started_on, process, started_at, finished_at,
       exit_code, note, durable
FROM shardwright.run
WHERE shard_set = %(shard_set)s AND state = 'running' AND (NOT durable OR worker IS NOT NULL)
ORDER BY id DESC
LIMIT 1

-- name: open_rollout
SELECT id, kind, shard_set, state, target, undoes, started_by, started_on, process, started_at, finished_at,
       exit_code, note, durable, plan
FROM shardwright.run
WHERE shard_set = %(shard_set)s AND kind IN ('migrate', 'rollback')
  AND state IN ('queued', 'running', 'waiting', 'paused')
ORDER BY id DESC
LIMIT 1

-- name: last_rollout
-- The newest migrate that began with a shard; whether it moved, the shard says itself. One that ended without a
-- word may have begun with any.
SELECT run.id, run.kind, run.shard_set, run.state, run.target, run.undoes, run.started_by, run.started_on,
       run.process, run.started_at, run.finished_at, run.exit_code, run.note, run.durable
FROM shardwright.run
WHERE run.shard_set = %(shard_set)s
  AND run.kind = 'migrate'
  AND EXISTS (SELECT FROM shardwright.run_shard AS shard
              WHERE shard.run = run.id
                AND (shard.attempts > 0
                     OR shard.status = 'not_tried' AND run.state IN ('running', 'abandoned')))
ORDER BY run.id DESC
LIMIT 1

-- name: moved_since
SELECT shard.shard, min(run.id)
FROM shardwright.run_shard AS shard
JOIN shardwright.run ON run.id = shard.run
WHERE run.shard_set = %(shard_set)s
  AND run.id > %(run)s
  AND shard.attempts > 0
  AND shard.from_revisions IS DISTINCT FROM shard.to_revisions
GROUP BY shard.shard

-- name: ways_up
SELECT shard.shard, shard.from_revisions, shard.to_revisions
FROM shardwright.run_shard AS shard
JOIN shardwright.run ON run.id = shard.run
WHERE run.shard_set = %(shard_set)s AND run.kind = 'migrate' AND shard.shard = ANY (%(shards)s::text[])
  AND shard.status = 'migrated' AND shard.from_revisions IS NOT NULL AND shard.to_revisions IS NOT NULL
ORDER BY run.id DESC

-- name: results
SELECT shard, status, from_revisions, to_revisions, seconds, attempts, error, hint
FROM shardwright.run_shard
WHERE run = %(run)s
ORDER BY shard

-- name: first_seen
-- Which of these revisions a rollout has brought to a shard, and when and by whom first.
SELECT revision, run.id, run.started_at, run.started_by
FROM unnest(%(revisions)s::text[]) AS revision
JOIN LATERAL (
    SELECT run.*
    FROM shardwright.run_shard AS shard
    JOIN shardwright.run ON run.id = shard.run
    WHERE shard.to_revisions @> ARRAY[revision] AND shard.status IN ('migrated', 'rolled_back')
    ORDER BY run.id
    LIMIT 1
) AS run ON true

-- name: set_token
SELECT token FROM shardwright.shard_set WHERE name = %(shard_set)s

-- name: open_decision
INSERT INTO shardwright.decision (run) VALUES (%(run)s)

-- name: durable_commit
-- A decision must survive the server, whatever the database's default is.
SELECT pg_catalog.set_config('synchronous_commit', 'local', true)
WHERE pg_catalog.current_setting('synchronous_commit') = 'off'

-- name: decide
-- Once decided, it stays: of a process that was given up and the one that took over, the first word counts.
UPDATE shardwright.decision
SET decision = %(decision)s, decided_at = clock_timestamp()
WHERE run = %(run)s AND decision IS NULL

-- name: decision
SELECT decision FROM shardwright.decision WHERE run = %(run)s

-- name: settle_decision
UPDATE shardwright.decision
SET settled_at = coalesce(settled_at, clock_timestamp()), taken_over = taken_over OR %(taken_over)s
WHERE run = %(run)s

-- name: unsettled
-- A process that slept may still prepare after its run was taken over: those are looked at for another day.
SELECT decision.run, decision.settled_at IS NOT NULL, run.plan
FROM shardwright.decision
JOIN shardwright.run ON run.id = decision.run
WHERE run.shard_set = %(shard_set)s
  AND (decision.settled_at IS NULL
       OR decision.taken_over AND decision.settled_at > now() - interval '1 day')
ORDER BY decision.run
