-- name: stale_databases
SELECT datname
FROM pg_catalog.pg_database AS database
WHERE datname LIKE %(prefix)s
  AND datname < %(oldest)s
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE datid = database.oid)

-- name: create_progress
CREATE SCHEMA IF NOT EXISTS shardwright;
CREATE TABLE IF NOT EXISTS shardwright.revision_progress (
    revision text NOT NULL,
    digest   text NOT NULL,
    done     integer NOT NULL,
    begun    boolean NOT NULL,
    PRIMARY KEY (revision, digest)
)

-- name: read_progress
SELECT done, begun FROM shardwright.revision_progress WHERE revision = %(revision)s AND digest = %(digest)s

-- name: write_progress
INSERT INTO shardwright.revision_progress (revision, digest, done, begun)
VALUES (%(revision)s, %(digest)s, %(done)s, %(begun)s)
ON CONFLICT (revision, digest) DO UPDATE SET done = excluded.done, begun = excluded.begun

-- name: end_progress
DELETE FROM shardwright.revision_progress WHERE revision = %(revision)s

-- name: begun_renderings
SELECT digest FROM shardwright.revision_progress
