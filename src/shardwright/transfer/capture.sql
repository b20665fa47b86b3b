-- name: make_schema
CREATE SCHEMA IF NOT EXISTS shardwright;
CREATE TABLE IF NOT EXISTS shardwright.move (
    move    integer PRIMARY KEY,
    side    text NOT NULL CHECK (side IN ('source', 'target', 'blue', 'green')),
    tenant  text CHECK ((tenant IS NULL) = (side IN ('blue', 'green'))),
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
