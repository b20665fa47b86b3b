-- name: wait_for_schema_lock
SET LOCAL lock_timeout = '30s'

-- name: lock_schema
SELECT pg_catalog.pg_advisory_xact_lock(%(class)s, %(key)s)

-- name: schema_exists
-- Not to_regclass(): after a wait for the lock it answers from the session's cache, as of before the wait.
SELECT EXISTS (SELECT
               FROM pg_catalog.pg_class AS class
               JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
               WHERE space.nspname = 'shardwright' AND class.relname = 'schema_version')

-- name: create_version_table
CREATE SCHEMA IF NOT EXISTS shardwright;
CREATE TABLE shardwright.schema_version (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: schema_version
SELECT coalesce(max(version), 0) FROM shardwright.schema_version

-- name: record_version
INSERT INTO shardwright.schema_version (version, name) VALUES (%(version)s, %(name)s)

-- name: record_set
INSERT INTO shardwright.shard_set (name) VALUES (%(shard_set)s) ON CONFLICT DO NOTHING

-- name: record_shards
-- Whether a shard takes new tenants is said when it is new, or comes back as one of the set's own.
INSERT INTO shardwright.shard (shard_set, name, host, database, labels, takes_new)
SELECT %(shard_set)s, shard.name, shard.host, shard.database, shard.labels::jsonb, shard.takes_new
FROM unnest(%(names)s::text[], %(hosts)s::text[], %(databases)s::text[], %(labels)s::text[], %(takes_new)s::boolean[])
     AS shard (name, host, database, labels, takes_new)
ON CONFLICT (shard_set, name) DO UPDATE
SET host = excluded.host, database = excluded.database, labels = excluded.labels, retired_at = NULL,
    takes_new = shard.takes_new OR (shard.retired_at IS NOT NULL AND excluded.takes_new)
WHERE (shard.host, shard.database, shard.labels, shard.retired_at)
      IS DISTINCT FROM (excluded.host, excluded.database, excluded.labels, NULL)

-- name: retire_shards
UPDATE shardwright.shard
SET retired_at = now()
WHERE shard_set = %(shard_set)s AND retired_at IS NULL AND name <> ALL (%(names)s::text[])

-- name: takes_new
SELECT name, takes_new FROM shardwright.shard WHERE shard_set = %(shard_set)s

-- name: set_takes_new
UPDATE shardwright.shard
SET takes_new = %(takes_new)s
WHERE shard_set = %(shard_set)s AND name = ANY (%(names)s::text[]) AND takes_new <> %(takes_new)s

-- name: lock_placing
-- No row lock: applications that place tenants may only read shards.
SELECT pg_catalog.pg_advisory_xact_lock_shared(%(class)s, %(key)s)

-- name: lock_closing
SELECT pg_catalog.pg_advisory_xact_lock(%(class)s, %(key)s)

-- name: shard_takes_new
SELECT takes_new FROM shardwright.shard WHERE shard_set = %(shard_set)s AND name = %(name)s

-- name: shards
SELECT name, host, database, labels, added_at, retired_at
FROM shardwright.shard
WHERE shard_set = %(shard_set)s
ORDER BY name

-- name: shard_facts
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_number,
       pg_backend_pid() AS pid,
       current_user::text AS role,
       current_schema()::text AS schema,
       coalesce(has_schema_privilege(current_schema(), 'CREATE')
                AND has_schema_privilege(current_schema(), 'USAGE'), false) AS may_create_tables,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
       pg_is_in_recovery() AS in_recovery,
       current_setting('default_transaction_read_only')::bool AS read_only,
       (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') AS read_only_source,
       current_setting('server_encoding') AS encoding,
       current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int AS reserved_connections,
       current_setting('max_prepared_transactions')::int AS max_prepared_transactions,
       pg_database_size(current_database()) AS bytes,
       (SELECT sum(numbackends) FROM pg_stat_database)::int AS connections,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS connections_allowed,
       ARRAY(SELECT relname::text FROM pg_class
             WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
               AND NOT pg_has_role(relowner, 'USAGE')
             ORDER BY relname LIMIT 5) AS foreign_tables

-- name: identity
-- Physical copies share the identifier, so the moment at which the server was started is part of it.
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
       pg_postmaster_start_time()::text AS started,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS oid

-- name: count_tenants
SELECT count(*) FROM {table}

-- name: proof_known
SELECT true FROM shardwright.proof WHERE key = %(key)s

-- name: remember_proof
INSERT INTO shardwright.proof (key) VALUES (%(key)s) ON CONFLICT DO NOTHING
