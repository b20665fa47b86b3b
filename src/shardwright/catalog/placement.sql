-- name: moment
SELECT now()

-- name: locate
SELECT tenant, shard, epoch, changed_at, changed_by, run
FROM shardwright.placement
WHERE shard_set = %(shard_set)s AND tenant = %(tenant)s

-- name: page
SELECT tenant, shard, epoch, changed_at, changed_by, run
FROM shardwright.placement
WHERE shard_set = %(shard_set)s
  AND (%(shard)s::text IS NULL OR shard = %(shard)s)
  AND (%(search)s::text IS NULL OR tenant ^@ %(search)s)
  AND (%(after)s::text IS NULL OR tenant > %(after)s)
ORDER BY tenant
LIMIT %(limit)s

-- name: loads
SELECT shard, count(*) FROM shardwright.placement WHERE shard_set = %(shard_set)s GROUP BY shard

-- name: epochs
SELECT tenant, epoch FROM shardwright.placement WHERE shard_set = %(shard_set)s AND shard = ANY (%(shards)s)

-- name: is_any_on
SELECT EXISTS (SELECT FROM shardwright.placement WHERE shard_set = %(shard_set)s AND shard = ANY (%(shards)s))

-- name: place
INSERT INTO shardwright.placement (shard_set, tenant, shard, epoch, changed_by)
SELECT %(shard_set)s, %(tenant)s, %(shard)s, 1 + coalesce(max(epoch), 0), %(changed_by)s
FROM shardwright.placement_history
WHERE shard_set = %(shard_set)s AND tenant = %(tenant)s
ON CONFLICT DO NOTHING
RETURNING tenant, shard, epoch, changed_at, changed_by, run

-- name: move
UPDATE shardwright.placement
SET shard = %(target)s, epoch = epoch + 1, changed_at = now(), changed_by = %(changed_by)s, run = %(run)s
WHERE shard_set = %(shard_set)s AND tenant = %(tenant)s AND shard = %(source)s AND epoch = %(epoch)s
RETURNING epoch

-- name: copy_directory
INSERT INTO pg_temp.directory (tenant, shard, epoch)
SELECT tenant, shard, epoch FROM shardwright.placement WHERE shard_set = %(shard_set)s

-- name: adopt
-- Of the same tenant somebody may have been told a shard meanwhile: that one stands. In the order of the index, or a
-- million random places in it are written to.
INSERT INTO shardwright.placement (shard_set, tenant, shard, epoch, changed_by)
SELECT %(shard_set)s, tenant, found,
       1 + (SELECT coalesce(max(past.epoch), 0) FROM shardwright.placement_history AS past
            WHERE past.shard_set = %(shard_set)s AND past.tenant = difference.tenant),
       %(changed_by)s
FROM pg_temp.difference
WHERE kind = 'unplaced'
ORDER BY tenant
ON CONFLICT DO NOTHING

-- name: accept
UPDATE shardwright.placement
SET shard = difference.found, epoch = placement.epoch + 1, changed_at = now(), changed_by = %(changed_by)s, run = NULL
FROM pg_temp.difference
WHERE difference.kind = 'elsewhere' AND placement.shard_set = %(shard_set)s
  AND placement.tenant = difference.tenant AND placement.epoch = difference.epoch
  AND (%(of)s::text[] IS NULL OR placement.shard = ANY (%(of)s))

-- name: forget
DELETE FROM shardwright.placement
USING pg_temp.difference
WHERE difference.kind = 'missing' AND placement.shard_set = %(shard_set)s
  AND placement.tenant = difference.tenant AND placement.epoch = difference.epoch
  AND (%(of)s::text[] IS NULL OR placement.shard = ANY (%(of)s))
