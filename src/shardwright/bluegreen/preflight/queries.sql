-- name: lock_places
-- How many locks the server has room for (more in practice), and how many relations there are to lock.
SELECT
    current_setting('max_locks_per_transaction')::bigint
        * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint),
    (SELECT count(*) FROM pg_catalog.pg_class AS class
     JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
     WHERE relkind IN ('r', 'p', 'i', 'I') AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast'))

-- name: version_table
SELECT class.oid::regclass::text, pg_catalog.has_table_privilege(class.oid, 'SELECT')
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE class.relkind = 'r' AND %(name)s::text IN (class.relname::text, space.nspname || '.' || class.relname)
ORDER BY space.nspname <> 'public'
LIMIT 1

-- name: may_read_moves
SELECT pg_catalog.has_schema_privilege('shardwright', 'USAGE')
    AND pg_catalog.has_table_privilege('shardwright.move', 'SELECT')

-- name: all_moves
SELECT move FROM shardwright.move ORDER BY move

-- name: maker
SELECT
    current_user::text,
    rolcreatedb OR rolsuper,
    EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %(owner)s::text)
FROM pg_catalog.pg_roles WHERE rolname = current_user
