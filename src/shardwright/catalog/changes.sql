-- name: newest_change
SELECT run, phase
FROM shardwright.bluegreen
WHERE shard_set = %(shard_set)s
ORDER BY run DESC
LIMIT 1

-- name: lanes
SELECT blue, green, lag_seconds, extract(epoch FROM clock_timestamp() - at)::float
FROM shardwright.bluegreen_lane
WHERE run = %(run)s

-- name: part_of
SELECT blue, green, at_green FROM shardwright.bluegreen_tenant WHERE run = %(run)s AND tenant = %(tenant)s

-- name: tenants_in
SELECT tenant FROM shardwright.bluegreen_tenant WHERE run = %(run)s
