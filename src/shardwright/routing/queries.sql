-- name: listen
LISTEN shardwright_placement

-- name: has_moves
-- Null where there is no such table; an error, and not null, where the role may not look into the schema.
SELECT to_regclass('shardwright.move') IS NOT NULL

-- name: moves_of
SELECT move, gone_to, epoch FROM shardwright.move WHERE tenant = :tenant ORDER BY move

-- name: fence
SELECT last_value FROM {fence}
