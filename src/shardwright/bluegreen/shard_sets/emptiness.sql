-- name: has_rows
SELECT EXISTS (SELECT FROM {table})

-- name: be_replica
SET LOCAL session_replication_role = replica

-- name: delete
DELETE FROM {table}
