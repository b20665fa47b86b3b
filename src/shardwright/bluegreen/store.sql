-- name: create
INSERT INTO shardwright.bluegreen (run, shard_set) VALUES (%(run)s, %(shard_set)s)

-- name: add_lane
INSERT INTO shardwright.bluegreen_lane (run, blue, green) VALUES (%(run)s, %(blue)s, %(green)s)

-- name: last
SELECT run, phase, throttle, switched_at, keep_until
FROM shardwright.bluegreen
WHERE shard_set = %(shard_set)s
ORDER BY phase IN ('done', 'undone'), run DESC
LIMIT 1

-- name: change
SELECT run, phase, throttle, switched_at, keep_until
FROM shardwright.bluegreen
WHERE run = %(run)s AND shard_set = %(shard_set)s

-- name: tenants
-- Of tens of thousands this is asked often, so without what was proven of them.
SELECT tenant, blue, green, at_green
FROM shardwright.bluegreen_tenant
WHERE run = %(run)s
  AND (%(blues)s::text[] IS NULL OR (blue, green) IN (SELECT * FROM unnest(%(blues)s::text[], %(greens)s::text[])))
  AND (%(tenants)s::text[] IS NULL OR tenant = ANY (%(tenants)s::text[]))
ORDER BY tenant

-- name: unproven
SELECT tenant, blue, green, at_green, epoch
FROM shardwright.bluegreen_tenant
WHERE run = %(run)s AND switched_at IS NOT NULL AND certificate IS NULL
  AND (blue, green) IN (SELECT * FROM unnest(%(blues)s::text[], %(greens)s::text[]))
ORDER BY tenant

-- name: is_on_one_side
SELECT NOT EXISTS (
        SELECT FROM shardwright.bluegreen_lane WHERE run = %(run)s AND everybody_at_green <> %(at_green)s)
    AND NOT EXISTS (SELECT FROM shardwright.bluegreen_tenant WHERE run = %(run)s AND at_green <> %(at_green)s)

-- name: proofs
SELECT count(gap), percentile_cont(0.5) WITHIN GROUP (ORDER BY gap), max(gap),
       count(*) FILTER (WHERE is_equal), count(*) FILTER (WHERE NOT is_equal)
FROM (
    SELECT (write_gap->>'gap_ms')::float, (certificate->>'equal')::boolean
    FROM shardwright.bluegreen_tenant
    WHERE run = %(run)s
) AS _ (gap, is_equal)

-- name: tenant
SELECT tenant, blue, green, epoch, at_green, write_gap, certificate, switched_at
FROM shardwright.bluegreen_tenant
WHERE run = %(run)s AND tenant = %(tenant)s

-- name: lanes
SELECT lane.blue, lane.green, everybody_at_green, coalesce(tenants, 0), coalesce(there, 0),
       keys, lag_seconds, back_keys, back_lag_seconds, at
FROM shardwright.bluegreen_lane AS lane
LEFT JOIN (
    SELECT blue, green, count(*), count(*) FILTER (WHERE at_green)
    FROM shardwright.bluegreen_tenant
    WHERE run = %(run)s
    GROUP BY blue, green
) AS own (blue, green, tenants, there) ON own.blue = lane.blue AND own.green = lane.green
WHERE run = %(run)s
ORDER BY lane.blue, lane.green

-- name: adopt
INSERT INTO shardwright.bluegreen_tenant (run, tenant, blue, green, epoch, at_green)
VALUES (%(run)s, %(tenant)s, %(blue)s, %(green)s, %(epoch)s, %(at_green)s)
ON CONFLICT (run, tenant) DO NOTHING

-- name: switch
UPDATE shardwright.bluegreen_tenant
SET at_green = %(at_green)s, epoch = %(epoch)s, switched_at = clock_timestamp(), certificate = NULL
WHERE run = %(run)s AND tenant = %(tenant)s

-- name: switch_everybody
UPDATE shardwright.bluegreen_lane SET everybody_at_green = %(at_green)s
WHERE run = %(run)s AND blue = %(blue)s AND green = %(green)s

-- name: phase
UPDATE shardwright.bluegreen
SET phase = %(phase)s,
    switched_at = CASE WHEN %(keep)s::float IS NULL THEN switched_at ELSE clock_timestamp() END,
    keep_until = CASE WHEN %(keep)s::float IS NULL THEN keep_until
                      ELSE clock_timestamp() + make_interval(secs => %(keep)s::float) END
WHERE run = %(run)s

-- name: note_switch
UPDATE shardwright.bluegreen_tenant
SET write_gap = %(write_gap)s, certificate = coalesce(%(certificate)s::jsonb, certificate)
WHERE run = %(run)s AND tenant = %(tenant)s

-- name: note_lane
UPDATE shardwright.bluegreen_lane
SET keys = %(keys)s, lag_seconds = %(lag_seconds)s, back_keys = %(back_keys)s, back_lag_seconds = %(back_lag_seconds)s,
    at = clock_timestamp()
WHERE run = %(run)s AND blue = %(blue)s AND green = %(green)s

-- name: orders
SELECT id, kind, tenants, share, by, note FROM shardwright.bluegreen_order
WHERE run = %(run)s AND done_at IS NULL
ORDER BY id

-- name: last_order
SELECT id, kind, tenants, share, by, note FROM shardwright.bluegreen_order
WHERE run = %(run)s AND done_at IS NOT NULL
ORDER BY done_at DESC
LIMIT 1

-- name: lock
SELECT FROM shardwright.bluegreen WHERE run = %(run)s FOR UPDATE

-- name: order
INSERT INTO shardwright.bluegreen_order (run, kind, tenants, share, leave_writable, by)
VALUES (%(run)s, %(kind)s, %(tenants)s, %(share)s, %(leave_writable)s, %(by)s)
RETURNING id

-- name: name_tenants
UPDATE shardwright.bluegreen_order SET tenants = %(tenants)s, share = NULL WHERE id = %(id)s

-- name: end_order
UPDATE shardwright.bluegreen_order SET done_at = clock_timestamp(), note = %(note)s WHERE id = %(id)s

-- name: leaves_writable
SELECT bool_or(leave_writable) FROM shardwright.bluegreen_order WHERE run = %(run)s AND kind = 'finish'

-- name: is_ended
SELECT done_at IS NOT NULL FROM shardwright.bluegreen_order WHERE id = %(id)s

-- name: throttle
UPDATE shardwright.bluegreen SET throttle = throttle || %(throttle)s::jsonb WHERE run = %(run)s

-- name: is_past
SELECT keep_until <= clock_timestamp() FROM shardwright.bluegreen WHERE run = %(run)s
