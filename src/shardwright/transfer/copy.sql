-- name: exists
SELECT pg_catalog.to_regclass(%(name)s) IS NOT NULL

-- name: heap
-- The blocks of a table's largest partition, and a number for the files that it and all others lie in, which are others
-- once somebody has rewritten one. No row where one of them is no heap.
SELECT max(pg_catalog.pg_relation_size(pg_class.oid) / pg_catalog.current_setting('block_size')::bigint),
       pg_catalog.hashtextextended(
           string_agg(pg_catalog.pg_relation_filenode(pg_class.oid)::text, ',' ORDER BY pg_class.oid), 0
       )
FROM pg_catalog.pg_class LEFT JOIN pg_catalog.pg_am ON pg_am.oid = relam
WHERE pg_class.oid = %(table)s::regclass AND relkind <> 'p'
   OR pg_class.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(%(table)s::regclass) WHERE isleaf)
HAVING bool_and(amname IS NOT DISTINCT FROM 'heap')
