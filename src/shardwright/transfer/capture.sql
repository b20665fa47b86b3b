-- name: make_schema
CREATE SCHEMA IF NOT EXISTS shardwright;
CREATE TABLE IF NOT EXISTS shardwright.move (
    move    integer PRIMARY KEY,
    side    text NOT NULL CHECK (side IN ('source', 'target')),
    tenant  text NOT NULL,
    runner  integer NOT NULL,
    gone_to text,
    epoch   bigint
)

-- name: register
INSERT INTO shardwright.move (move, side, tenant, runner, gone_to, epoch)
VALUES (%(move)s, %(side)s, %(tenant)s, %(runner)s, %(gone_to)s, %(epoch)s)
ON CONFLICT (move) DO NOTHING
RETURNING true

-- name: registered
SELECT true FROM shardwright.move WHERE move = %(move)s

-- name: forget
DELETE FROM shardwright.move WHERE move = %(move)s

-- name: has_schema
SELECT pg_catalog.to_regclass('shardwright.move') IS NOT NULL

-- name: is_unused
SELECT pg_catalog.to_regclass('shardwright.move') IS NOT NULL AND NOT EXISTS (SELECT FROM shardwright.move)

-- name: drop_schema
DROP TABLE shardwright.move;
DROP SCHEMA shardwright

-- name: installed
-- The trigger that is made last, and only together with the others.
SELECT nspname, relname
FROM pg_catalog.pg_trigger
JOIN pg_catalog.pg_class ON pg_class.oid = tgrelid
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE tgname = %(trigger)s

-- name: triggers
-- Not those that a partition has from its parent.
SELECT nspname, relname, tgname
FROM pg_catalog.pg_trigger
JOIN pg_catalog.pg_class ON pg_class.oid = tgrelid
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE tgname LIKE %(prefix)s AND tgparentid = 0
ORDER BY 1, 2, 3

-- name: objects
SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname::text
FROM pg_catalog.pg_class
WHERE relnamespace = pg_catalog.to_regnamespace('shardwright') AND relkind IN ('r', 'S') AND relname ~ %(pattern)s
UNION ALL
SELECT 'FUNCTION', proname::text
FROM pg_catalog.pg_proc
WHERE pronamespace = pg_catalog.to_regnamespace('shardwright') AND proname ~ %(pattern)s

-- name: lock_holder
-- The oldest transaction that has a lock on the table which is in the way of ours: of writers, or any at all. A
-- prepared one has no process.
SELECT activity.pid, activity.application_name, activity.usename, activity.state,
       extract('epoch' FROM clock_timestamp() - activity.xact_start)::float, left(activity.query, 200)
FROM pg_catalog.pg_locks AS lock
LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.locktype = 'relation' AND lock.relation = %(table)s::regclass AND lock.granted
  AND lock.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND lock.pid IS DISTINCT FROM pg_backend_pid()
  AND (%(any)s OR lock.mode NOT IN ('AccessShareLock', 'RowShareLock'))
ORDER BY activity.xact_start NULLS FIRST
LIMIT 1
