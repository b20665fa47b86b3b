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

-- name: table_sizes
-- By name in any schema, for env.py may set a search_path; of a partitioned table all its partitions together.
SELECT wanted.schema, wanted.name, coalesce(max(size.total), 0)::bigint, coalesce(max(size.rows), 0)::bigint
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS wanted (schema, name)
LEFT JOIN (
    pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace AND class.relkind IN ('r', 'p')
) ON class.relname = wanted.name AND namespace.nspname = coalesce(wanted.schema, namespace.nspname)
LEFT JOIN LATERAL (
    SELECT sum(pg_catalog.pg_table_size(part.oid)) AS total, sum(pg_catalog.pg_relation_size(part.oid)) AS rows
    FROM (SELECT relid FROM pg_catalog.pg_partition_tree(class.oid) UNION SELECT class.oid) AS part (oid)
) AS size ON true
GROUP BY 1, 2

-- name: relations
-- What an application may wait for: tables, views and sequences, by number; not the revisions.
SELECT class.oid::bigint, class.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE class.relkind IN ('r', 'p', 'm', 'v', 'f', 'S')
  AND space.nspname NOT IN ('information_schema', 'shardwright')
  AND space.nspname NOT LIKE 'pg\_%%'
  AND class.oid IS DISTINCT FROM pg_catalog.to_regclass(%(version_table)s)

-- name: locks_held
-- One row at least, as long as the session lives: whether it is in a transaction, and each lock it holds.
SELECT session.state LIKE 'idle in transaction%%', held.virtualtransaction, held.relation::bigint, held.mode
FROM pg_catalog.pg_stat_activity AS session
LEFT JOIN pg_catalog.pg_locks AS held
    ON held.pid = session.pid
    AND held.granted
    AND held.locktype = 'relation'
    AND held.database = session.datid
WHERE session.pid = %(pid)s

-- name: create_version_table
-- As Alembic makes it, which leaves it where it is there.
CREATE TABLE IF NOT EXISTS {table} (version_num varchar(32) NOT NULL, CONSTRAINT {key} PRIMARY KEY (version_num))
