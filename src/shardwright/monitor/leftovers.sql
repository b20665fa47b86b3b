-- name: objects
-- What is in our schema, by the number of the move or change in its name; null: what they share.
WITH ours AS (
    SELECT class.relname::text AS name
    FROM pg_catalog.pg_class AS class
    WHERE class.relnamespace = pg_catalog.to_regnamespace('shardwright') AND class.relkind NOT IN ('i', 'I', 't')
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.objid = class.oid AND d.deptype IN ('i', 'a'))
    UNION ALL
    SELECT proname::text
    FROM pg_catalog.pg_proc
    WHERE pronamespace = pg_catalog.to_regnamespace('shardwright')
), triggers AS (
    -- Not those that a partition has from its parent.
    SELECT tgname::text AS name, tgrelid::pg_catalog.regclass::text AS relation
    FROM pg_catalog.pg_trigger
    JOIN pg_catalog.pg_proc ON pg_proc.oid = tgfoid
    WHERE NOT tgisinternal AND tgparentid = 0
        AND (pronamespace = pg_catalog.to_regnamespace('shardwright') OR tgname ~ '^shardwright_[0-9]+_')
)
SELECT substring(name FROM '^[a-z]+_([0-9]{1,18})(?:_|$)')::bigint AS number, count(*), 0, NULL FROM ours GROUP BY 1
UNION ALL
SELECT substring(name FROM '^shardwright_([0-9]{1,18})_')::bigint, 0, count(*), min(relation) FROM triggers GROUP BY 1
UNION ALL
SELECT NULL, 0, 0, NULL WHERE pg_catalog.to_regnamespace('shardwright') IS NOT NULL

-- name: prepared
SELECT gid
FROM pg_catalog.pg_prepared_xacts
WHERE database = pg_catalog.current_database() AND starts_with(gid, 'shardwright_')
ORDER BY prepared

-- name: invalid_indexes
-- Not one that is being built: whoever builds it holds a lock on its table, which autovacuum may hold too.
SELECT space.nspname, index.relname, entry.indrelid::pg_catalog.regclass::text
FROM pg_catalog.pg_index AS entry
JOIN pg_catalog.pg_class AS index ON index.oid = entry.indexrelid
JOIN pg_catalog.pg_namespace AS space ON space.oid = index.relnamespace
WHERE NOT entry.indisvalid AND index.relkind = 'i' AND space.nspname <> 'pg_toast'
    AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_locks AS held
        LEFT JOIN pg_catalog.pg_stat_activity AS holder USING (pid)
        WHERE held.locktype = 'relation' AND held.relation = entry.indrelid AND held.granted
            AND held.database = (SELECT oid FROM pg_catalog.pg_database
                                 WHERE datname = pg_catalog.current_database())
            AND held.mode = 'ShareUpdateExclusiveLock'
            AND holder.backend_type IS DISTINCT FROM 'autovacuum worker'
    )
ORDER BY 1, 2
