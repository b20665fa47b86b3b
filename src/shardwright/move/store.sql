-- name: create
INSERT INTO shardwright.move (run, shard_set, tenant, source, target, epoch, throttle)
VALUES (%(run)s, %(shard_set)s, %(tenant)s, %(source)s, %(target)s, %(epoch)s, %(throttle)s)

-- name: move
SELECT run, tenant, source, target, epoch, phase, throttle, write_gap, certificate, switched_at, keep_until
FROM shardwright.move
WHERE run = %(run)s AND shard_set = %(shard_set)s

-- name: of_tenant
-- The open one, else the last.
SELECT run, tenant, source, target, epoch, phase, throttle, write_gap, certificate, switched_at, keep_until
FROM shardwright.move
WHERE shard_set = %(shard_set)s AND tenant = %(tenant)s
ORDER BY phase IN ('kept', 'undone'), run DESC
LIMIT 1

-- name: open
SELECT run, tenant, source, target, epoch, phase, throttle, write_gap, certificate, switched_at, keep_until
FROM shardwright.move
WHERE shard_set = %(shard_set)s AND phase NOT IN ('kept', 'undone')
ORDER BY run

-- name: tenants_since
SELECT DISTINCT move.tenant
FROM shardwright.move
JOIN shardwright.run ON run.id = move.run
WHERE move.shard_set = %(shard_set)s AND (move.phase NOT IN ('kept', 'undone') OR run.finished_at >= %(since)s)

-- name: carried_since
-- Of one that was switched before, nothing but its end is still to be written.
SELECT DISTINCT move.tenant, move.source, move.target
FROM shardwright.move
JOIN shardwright.run ON run.id = move.run
WHERE move.shard_set = %(shard_set)s
  AND (move.phase NOT IN ('kept', 'undone') OR run.finished_at >= %(since)s)
  AND NOT (move.phase = 'switched' AND move.switched_at < %(since)s)

-- name: switched
UPDATE shardwright.move
SET phase = 'switched', switched_at = clock_timestamp(), keep_until = clock_timestamp() + make_interval(secs => %(keep)s)
WHERE run = %(run)s

-- name: phase
UPDATE shardwright.move SET phase = %(phase)s WHERE run = %(run)s

-- name: throttle
UPDATE shardwright.move SET throttle = throttle || %(throttle)s::jsonb WHERE run = %(run)s

-- name: write_gap
UPDATE shardwright.move SET write_gap = coalesce(write_gap, '{}') || %(write_gap)s::jsonb WHERE run = %(run)s

-- name: certificate
UPDATE shardwright.move SET certificate = %(certificate)s WHERE run = %(run)s
