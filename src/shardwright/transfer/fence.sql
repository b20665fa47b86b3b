-- name: holders
-- A prepared transaction keeps its locks without a process; the lock on its own number leads to its name.
SELECT lock.pid,
       coalesce(extract('epoch' FROM clock_timestamp() - coalesce(activity.xact_start, prepared.prepared)), 0)::float,
       coalesce(left(activity.query, 200), ''),
       coalesce(activity.application_name, prepared.gid, '')
FROM pg_catalog.pg_locks AS lock
LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = lock.pid
LEFT JOIN pg_catalog.pg_locks AS own
       ON lock.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid' AND own.granted
      AND own.virtualtransaction = lock.virtualtransaction
LEFT JOIN pg_catalog.pg_prepared_xacts AS prepared ON prepared.transaction = own.transactionid
WHERE lock.locktype = 'advisory' AND lock.classid = %(class)s::oid AND lock.objid = %(key)s::oid AND lock.objsubid = 2
  AND lock.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND lock.granted AND lock.mode = 'ShareLock'
ORDER BY 2 DESC
