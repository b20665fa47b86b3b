-- name: load
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
          AND application_name NOT LIKE 'shardwright move %')::integer,
       coalesce((SELECT extract('epoch' FROM max(replay_lag)) FROM pg_catalog.pg_stat_replication), 0)::float
