-- name: try_lock
SELECT pg_catalog.pg_try_advisory_lock(%(class)s, %(key)s)

-- name: lock_holder
SELECT activity.pid, activity.application_name, activity.usename, activity.client_addr::text, activity.backend_start
FROM pg_catalog.pg_locks AS held
JOIN pg_catalog.pg_stat_activity AS activity USING (pid)
WHERE held.locktype = 'advisory'
  AND held.granted
  AND held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND held.classid = %(class)s::oid
  AND held.objid = %(key)s::oid
  AND held.objsubid = 2

-- name: cancel_sessions
SELECT pid, pg_catalog.pg_cancel_backend(pid)
FROM pg_catalog.pg_stat_activity
WHERE application_name = %(application_name)s
  AND datname = pg_catalog.current_database()
  AND pid <> pg_catalog.pg_backend_pid()
  AND state <> 'idle'

-- name: terminate_sessions
-- Waits: until a session is gone, what it was committing may still become visible.
SELECT pid, pg_catalog.pg_terminate_backend(pid, 5000)
FROM pg_catalog.pg_stat_activity
WHERE application_name = %(application_name)s
  AND datname = pg_catalog.current_database()
  AND pid <> pg_catalog.pg_backend_pid()

-- name: blockers
-- Who is in the way of a session that waits for a lock, and for which relation.
SELECT waiting.relation::pg_catalog.regclass::text AS relation,
       blocker.pid,
       blocker.application_name,
       blocker.usename,
       blocker.state,
       pg_catalog.extract('epoch', pg_catalog.clock_timestamp() - coalesce(blocker.xact_start, blocker.backend_start))::float AS age,
       pg_catalog.left(pg_catalog.regexp_replace(blocker.query, '\s+', ' ', 'g'), 80) AS query
FROM pg_catalog.pg_locks AS waiting
JOIN pg_catalog.pg_stat_activity AS waiter ON waiter.pid = waiting.pid
LEFT JOIN pg_catalog.pg_stat_activity AS blocker ON blocker.pid = ANY (pg_catalog.pg_blocking_pids(waiting.pid))
WHERE NOT waiting.granted
  AND waiter.application_name = %(application_name)s
  AND waiter.datname = pg_catalog.current_database()
ORDER BY blocker.xact_start NULLS LAST
LIMIT 1

-- name: database
SELECT pg_catalog.pg_get_userbyid(datdba) AS owner,
       pg_catalog.pg_encoding_to_char(encoding) AS encoding,
       datcollate AS lc_collate,
       datctype AS lc_ctype,
       CASE datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END AS provider,
       -- As JSON, because the column has another name from PostgreSQL 17 on.
       coalesce(to_jsonb(entry) ->> 'datlocale', to_jsonb(entry) ->> 'daticulocale') AS locale
FROM pg_catalog.pg_database AS entry
WHERE datname = %(database)s

-- name: database_comment
SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = %(database)s

-- name: roles
-- Those for which whoever asks can act.
SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'USAGE')

-- name: database_settings
SELECT CASE WHEN setrole <> 0 THEN pg_catalog.pg_get_userbyid(setrole)::text END AS role, setting
FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS setting
WHERE setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = %(database)s)

-- name: invalid_index
SELECT space.nspname, index.relname
FROM pg_catalog.pg_index AS entry
JOIN pg_catalog.pg_class AS index ON index.oid = entry.indexrelid
JOIN pg_catalog.pg_namespace AS space ON space.oid = index.relnamespace
WHERE index.relname = %(index)s
  AND entry.indrelid = pg_catalog.to_regclass(%(table)s)
  AND NOT entry.indisvalid

-- name: session_is_here
SELECT true
FROM pg_catalog.pg_stat_activity
WHERE pid = %(pid)s
  AND application_name = %(application_name)s
  AND datname = pg_catalog.current_database()

-- name: valid_index
SELECT space.nspname, index.relname
FROM pg_catalog.pg_index AS entry
JOIN pg_catalog.pg_class AS index ON index.oid = entry.indexrelid
JOIN pg_catalog.pg_namespace AS space ON space.oid = index.relnamespace
WHERE index.relname = %(index)s
  AND entry.indrelid = pg_catalog.to_regclass(%(table)s)
  AND entry.indisvalid

-- name: user_tables
SELECT space.nspname, class.relname
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE class.relkind = 'r'
  AND space.nspname NOT IN ('information_schema', 'shardwright')
  AND space.nspname NOT LIKE 'pg\_%'

-- name: hash_rows
-- A moment of today is when the rows were written, and no two databases have the same.
SELECT count(*), coalesce(sum(pg_catalog.hashtextextended(
    pg_catalog.regexp_replace(
        whole::text,
        '(' || current_date || '|' || (now() AT TIME ZONE 'UTC')::date || ')[ T]\d\d:\d\d:\d\d(\.\d+)?',
        'now', 'g'), 0)), 0)
FROM {table} AS whole

-- name: free_prepared
SELECT pg_catalog.current_setting('max_prepared_transactions')::int - count(*) FROM pg_catalog.pg_prepared_xacts

-- name: prepared_names
SELECT gid
FROM pg_catalog.pg_prepared_xacts
WHERE database = pg_catalog.current_database() AND pg_catalog.starts_with(gid, %(prefix)s)
ORDER BY prepared

-- name: has_moves
SELECT pg_catalog.to_regclass('shardwright.move') IS NOT NULL

-- name: moves
SELECT tenant, move FROM shardwright.move ORDER BY move LIMIT 20

-- name: sessions_of
SELECT pid, concat_ws(', ', usename, nullif(application_name, ''))
FROM pg_catalog.pg_stat_activity
WHERE datname = %(database)s AND pid <> pg_catalog.pg_backend_pid()
