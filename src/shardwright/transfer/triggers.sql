-- name: installed
-- The trigger that is made last, and only together with the others.
SELECT nspname, relname
FROM pg_catalog.pg_trigger
JOIN pg_catalog.pg_class ON pg_class.oid = tgrelid
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE tgname = %(trigger)s

-- name: lock_holder
-- The oldest transaction that has a lock on the table which is in the way of ours: of writers, or any at all. A
-- prepared one has no process.
SELECT activity.pid, activity.application_name, activity.usename, activity.state,
       extract('epoch' FROM clock_timestamp() - activity.xact_start)::float, left(activity.query, 200)
FROM pg_catalog.pg_locks AS lock
LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.locktype = 'relation' AND lock.relation = %(table)s::regclass AND lock.granted
  AND lock.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND lock.pid IS DISTINCT FROM pg_backend_pid()
  AND (%(any)s OR lock.mode NOT IN ('AccessShareLock', 'RowShareLock'))
ORDER BY activity.xact_start NULLS FIRST
LIMIT 1
