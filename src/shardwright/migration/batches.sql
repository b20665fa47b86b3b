-- name: key_columns
-- Of the primary key, in its order; columns that it only includes left out.
SELECT attribute.attname::text, pg_catalog.format_type(attribute.atttypid, attribute.atttypmod)
FROM pg_catalog.pg_index AS entry
CROSS JOIN pg_catalog.unnest(entry.indkey::int2[]) WITH ORDINALITY AS key (number, place)
JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid = entry.indrelid AND attribute.attnum = key.number
WHERE entry.indrelid = pg_catalog.to_regclass(CAST(:table AS text))
  AND entry.indisprimary
  AND key.place <= entry.indnkeyatts
ORDER BY key.place

-- name: estimate
EXPLAIN SELECT FROM {table}

-- name: has_schema
SELECT pg_catalog.to_regnamespace('shardwright') IS NOT NULL

-- name: create_schema
CREATE SCHEMA IF NOT EXISTS shardwright

-- name: has_progress
SELECT pg_catalog.to_regclass('shardwright.backfill_progress') IS NOT NULL

-- name: create_progress
-- `turn` grows with every batch; `still` counts changed rows that still match.
CREATE TABLE IF NOT EXISTS shardwright.backfill_progress (
    heads    text NOT NULL,
    digest   text NOT NULL,
    turn     bigint NOT NULL DEFAULT 0,
    position text[],
    seen     bigint NOT NULL DEFAULT 0,
    changed  bigint NOT NULL DEFAULT 0,
    still    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (heads, digest)
)

-- name: begin
INSERT INTO shardwright.backfill_progress (heads, digest) VALUES (:heads, :digest) ON CONFLICT DO NOTHING

-- name: read
SELECT turn, position, seen, changed, still
FROM shardwright.backfill_progress
WHERE heads = :heads AND digest = :digest

-- name: batch
-- One statement, so that the rows and how far we came are one transaction with every driver. It begins by locking
-- its turn: a statement that a dead process left running can't do the same rows once more.
WITH shardwright_turn AS MATERIALIZED (
    SELECT turn
    FROM shardwright.backfill_progress
    WHERE heads = :heads AND digest = :digest AND turn = :turn
    FOR UPDATE
), shardwright_window AS MATERIALIZED (
    SELECT {keys}
    FROM {table}
    WHERE (SELECT true FROM shardwright_turn) AND {after}
    ORDER BY {keys}
    LIMIT {batch}
), shardwright_changed AS (
    UPDATE {table}
    SET {set_}
    WHERE ({keys}) IN (SELECT {keys} FROM shardwright_window)
      AND ({where})
    RETURNING ({where}) IS TRUE AS still
)
UPDATE shardwright.backfill_progress AS progress
SET turn = progress.turn + 1,
    position = coalesce(
        (SELECT ARRAY[{keys_as_text}] FROM shardwright_window ORDER BY {keys_descending} LIMIT 1),
        progress.position
    ),
    seen = progress.seen + batch.seen,
    changed = progress.changed + batch.changed,
    still = progress.still + batch.still
FROM (
    SELECT (SELECT count(*) FROM shardwright_window) AS seen,
           count(*) AS changed,
           count(*) FILTER (WHERE still) AS still
    FROM shardwright_changed
) AS batch
WHERE progress.heads = :heads AND progress.digest = :digest AND progress.turn = :turn
RETURNING progress.turn, progress.position, progress.seen, progress.changed, progress.still

-- name: some_left
SELECT EXISTS (SELECT FROM {table} WHERE ({where}))

-- name: begin_again
UPDATE shardwright.backfill_progress
SET turn = turn + 1, position = NULL, seen = 0
WHERE heads = :heads AND digest = :digest AND turn = :turn
RETURNING turn, position, seen, changed, still

-- name: forget
DELETE FROM shardwright.backfill_progress WHERE heads = :heads

-- name: has_more_progress
SELECT EXISTS (SELECT FROM shardwright.backfill_progress)

-- name: drop_progress
DROP TABLE shardwright.backfill_progress

-- name: setting
SELECT pg_catalog.current_setting(CAST(:name AS text))

-- name: set
SELECT pg_catalog.set_config(CAST(:name AS text), CAST(:value AS text), false)

-- name: replication_lag
SELECT coalesce(max(extract('epoch' FROM replay_lag)), 0)::float FROM pg_catalog.pg_stat_replication
