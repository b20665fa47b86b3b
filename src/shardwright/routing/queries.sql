-- name: listen
LISTEN shardwright_placement

-- name: has_moves
-- to_regclass and not a look into the catalog's tables: it needs no privilege, and is null where there is no such table.
SELECT to_regclass('shardwright.move') IS NOT NULL

-- name: moves_of
SELECT move, gone_to, epoch FROM shardwright.move WHERE tenant = :tenant ORDER BY move

-- name: fence
SELECT last_value FROM {fence}
