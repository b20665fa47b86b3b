-- name: rows_by_tenant
SELECT {key}::text, count(*)::float FROM {table} AS r {sample} WHERE {key} IS NOT NULL GROUP BY 1

-- name: ids
SELECT {key}::text FROM {table} AS r
