-- name: claim
UPDATE shardwright.move SET runner = %(runner)s WHERE move = %(move)s AND runner <= %(runner)s RETURNING true

-- name: end_others
SELECT pid, pg_catalog.pg_terminate_backend(pid, 5000)
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND application_name LIKE %(prefix)s AND application_name <> %(own)s
