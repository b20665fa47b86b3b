-- name: read
SELECT shard, shape, after, rows, dangling, undecided, examples, is_done
FROM shardwright.reference_check
WHERE shard_set = %(shard_set)s AND reference = %(reference)s
  AND shard IN (SELECT unnest(%(shards)s::text[]))
  AND told_at > pg_catalog.clock_timestamp() - interval '1 day'

-- name: write
INSERT INTO shardwright.reference_check AS known
    (shard_set, reference, shard, shape, after, rows, dangling, undecided, examples, is_done)
VALUES (%(shard_set)s, %(reference)s, %(shard)s, %(shape)s, %(after)s, %(rows)s, %(dangling)s, %(undecided)s,
        %(examples)s, %(is_done)s)
ON CONFLICT (shard_set, reference, shard) DO UPDATE
SET shape = excluded.shape, after = excluded.after, rows = excluded.rows, dangling = excluded.dangling,
    undecided = excluded.undecided, examples = excluded.examples, is_done = excluded.is_done,
    told_at = pg_catalog.clock_timestamp()

-- name: forget
DELETE FROM shardwright.reference_check
WHERE shard_set = %(shard_set)s AND reference = %(reference)s
