-- name: register
INSERT INTO shardwright.move (move, side, runner) VALUES (%(move)s, %(side)s, %(runner)s)
ON CONFLICT (move) DO NOTHING
RETURNING true

-- name: installed
-- The trigger that is made last, and only together with the others.
SELECT nspname, relname
FROM pg_catalog.pg_trigger
JOIN pg_catalog.pg_class ON pg_class.oid = tgrelid
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE tgname = %(trigger)s
