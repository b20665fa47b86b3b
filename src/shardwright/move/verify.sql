-- name: has_moves
SELECT pg_catalog.to_regclass('shardwright.move') IS NOT NULL

-- name: moves
SELECT move, tenant, side FROM shardwright.move WHERE tenant IS NOT NULL ORDER BY move
