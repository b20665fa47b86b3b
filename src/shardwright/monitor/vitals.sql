-- name: nothing
SELECT 1

-- name: pulse
-- Who has pg_monitor (or pg_read_all_stats) sees everybody's sessions and the standbys; who has not learns of neither,
-- and the sessions are counted without a look at what they are.
WITH right_to_see AS MATERIALIZED (
    SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS granted
), longest AS (
    SELECT pid, extract('epoch' FROM clock_timestamp() - xact_start)::float AS age, query
    FROM pg_catalog.pg_stat_activity, right_to_see
    WHERE granted AND datname = current_database() AND backend_type = 'client backend'
      AND xact_start IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
    ORDER BY xact_start
    LIMIT 1
)
SELECT current_setting('server_version') AS version,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       CASE WHEN granted
            THEN (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend')
            ELSE (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)
       END::integer AS connections,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
           - coalesce(current_setting('reserved_connections', true), '0')::integer AS connections_allowed,
       longest.pid AS longest_pid,
       longest.age AS longest_age,
       longest.query AS longest_query,
       CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN extract('epoch' FROM clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())
            WHEN granted
            THEN (SELECT extract('epoch' FROM max(coalesce(replay_lag, interval '0')))
                  FROM pg_catalog.pg_stat_replication)
       END::float AS lag,
       base.blks_hit::float / nullif(base.blks_hit + base.blks_read, 0) AS cache,
       base.tup_inserted + base.tup_updated + base.tup_deleted AS writes
FROM right_to_see
CROSS JOIN pg_catalog.pg_stat_database AS base
LEFT JOIN longest ON true
WHERE base.datname = current_database()

-- name: size
SELECT pg_catalog.pg_database_size(current_database()) AS bytes,
       (SELECT coalesce(sum(n_live_tup), 0) FROM pg_catalog.pg_stat_user_tables
        WHERE schemaname <> 'shardwright')::bigint AS rows

-- name: tenants
SELECT CASE WHEN reltuples >= 100000 THEN reltuples::bigint ELSE (SELECT count(*) FROM {table}) END
FROM pg_catalog.pg_class
WHERE oid = {name}::regclass
