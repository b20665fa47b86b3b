-- name: tenants
SELECT tenant, shard, rows, bytes, writes, custom, labels, measured_at
FROM shardwright.load
WHERE shard_set = %(shard_set)s

-- name: shards
SELECT shard, measured_at, seconds, database_bytes, tenants, rows, bytes, writes, custom, strangers, sampled, unread
FROM shardwright.load_shard
WHERE shard_set = %(shard_set)s
ORDER BY shard

-- name: ages
SELECT shard, extract(epoch FROM clock_timestamp() - measured_at)::float
FROM shardwright.load_shard
WHERE shard_set = %(shard_set)s

-- name: baselines
SELECT shard, counted_from, counted_at, xid, counters
FROM shardwright.load_shard
WHERE shard_set = %(shard_set)s

-- name: before
SELECT tenant, shard, writes, rows_of FROM shardwright.load WHERE shard_set = %(shard_set)s

-- name: lock
-- Two that measure at once write one after the other, the older one nothing.
LOCK TABLE shardwright.load_shard IN SHARE ROW EXCLUSIVE MODE

-- name: newer
SELECT shard
FROM shardwright.load_shard
WHERE shard_set = %(shard_set)s AND measured_at >= %(measured_at)s AND shard = ANY (%(shards)s)

-- name: make_incoming
CREATE TEMPORARY TABLE incoming (LIKE shardwright.load INCLUDING DEFAULTS) ON COMMIT DROP

-- name: copy_incoming
COPY pg_temp.incoming (shard_set, tenant, shard, measured_at, rows, bytes, writes, custom, labels, rows_of) FROM STDIN

-- name: write_tenants
INSERT INTO shardwright.load (shard_set, tenant, shard, measured_at, rows, bytes, writes, custom, labels, rows_of)
SELECT shard_set, tenant, shard, measured_at, rows, bytes, writes, custom, labels, rows_of
FROM pg_temp.incoming
ORDER BY tenant
ON CONFLICT (shard_set, tenant) DO UPDATE
SET shard = excluded.shard, measured_at = excluded.measured_at, rows = excluded.rows, bytes = excluded.bytes,
    writes = excluded.writes, custom = excluded.custom, labels = excluded.labels, rows_of = excluded.rows_of

-- name: write_tenant_history
INSERT INTO shardwright.load_history (shard_set, tenant, grain, at, shard, rows, bytes, writes, custom)
SELECT shard_set, tenant, grain, date_trunc(grain, measured_at, 'UTC'), shard, rows, bytes, writes, custom
FROM pg_temp.incoming, unnest(ARRAY['hour', 'day']) AS grain
ORDER BY tenant
ON CONFLICT (shard_set, tenant, grain, at) DO UPDATE
SET shard = excluded.shard, rows = excluded.rows, bytes = excluded.bytes, writes = excluded.writes,
    custom = excluded.custom

-- name: forget_tenants
-- Who has left the directory.
DELETE FROM shardwright.load
WHERE shard_set = %(shard_set)s AND tenant <> ALL (%(tenants)s::text[])

-- name: forget_shards
DELETE FROM shardwright.load_shard WHERE shard_set = %(shard_set)s AND shard <> ALL (%(shards)s::text[])

-- name: write_shard
INSERT INTO shardwright.load_shard
    (shard_set, shard, measured_at, seconds, database_bytes, tenants, rows, bytes, writes, custom, strangers, sampled,
     unread, counted_from, counted_at, xid, counters)
VALUES (%(shard_set)s, %(shard)s, %(measured_at)s, %(seconds)s, %(database_bytes)s, %(tenants)s, %(rows)s, %(bytes)s,
        %(writes)s, %(custom)s, %(strangers)s, %(sampled)s, %(unread)s, %(counted_from)s, %(counted_at)s, %(xid)s,
        %(counters)s)
ON CONFLICT (shard_set, shard) DO UPDATE
SET measured_at = excluded.measured_at, seconds = excluded.seconds, database_bytes = excluded.database_bytes,
    tenants = excluded.tenants, rows = excluded.rows, bytes = excluded.bytes, writes = excluded.writes,
    custom = excluded.custom, strangers = excluded.strangers, sampled = excluded.sampled, unread = excluded.unread,
    counted_from = excluded.counted_from, counted_at = excluded.counted_at, xid = excluded.xid,
    counters = excluded.counters

-- name: write_shard_history
INSERT INTO shardwright.load_shard_history (shard_set, shard, grain, at, tenants, rows, bytes, writes, custom)
SELECT shard_set, shard, grain, date_trunc(grain, measured_at, 'UTC'), tenants, rows, bytes, writes, custom
FROM shardwright.load_shard, unnest(ARRAY['hour', 'day', 'month']) AS grain
WHERE shard_set = %(shard_set)s AND shard = ANY (%(shards)s)
ON CONFLICT (shard_set, shard, grain, at) DO UPDATE
SET tenants = excluded.tenants, rows = excluded.rows, bytes = excluded.bytes, writes = excluded.writes,
    custom = excluded.custom

-- name: thin_tenant_history
DELETE FROM shardwright.load_history
WHERE shard_set = %(shard_set)s
  AND at < %(measured_at)s::timestamptz - CASE grain WHEN 'hour' THEN interval '1 day' ELSE interval '30 days' END

-- name: thin_shard_history
DELETE FROM shardwright.load_shard_history
WHERE shard_set = %(shard_set)s
  AND at < %(measured_at)s::timestamptz - CASE grain WHEN 'hour' THEN interval '1 day' ELSE interval '90 days' END
  AND grain <> 'month'

-- name: tenant_history
SELECT at, grain, shard, rows, bytes, writes, custom
FROM shardwright.load_history
WHERE shard_set = %(shard_set)s AND tenant = %(tenant)s
ORDER BY at, grain

-- name: shard_history
SELECT at, grain, tenants, rows, bytes, writes, custom
FROM shardwright.load_shard_history
WHERE shard_set = %(shard_set)s AND shard = %(shard)s
ORDER BY at, grain
