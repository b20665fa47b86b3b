-- name: has_rows
SELECT EXISTS (SELECT FROM {table})

-- name: may_be_replica
SELECT pg_catalog.has_parameter_privilege('session_replication_role', 'SET')

-- name: be_replica
SET LOCAL session_replication_role = replica

-- name: delete
DELETE FROM {table}
