-- name: only_the_catalog
-- From now on no name of the user's can stand for one of PostgreSQL's.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)

-- name: moment
-- What has a higher transaction id than this is newer than now; it never wraps.
SELECT pg_catalog.clock_timestamp(),
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint,
       pg_catalog.pg_database_size(pg_catalog.current_database())

-- name: size
SELECT pg_catalog.pg_database_size(pg_catalog.current_database())

-- name: storage
-- Of each table by its name: blocks, bytes with TOAST, bytes of indexes, rows ever inserted, updated, deleted; the
-- columns whose values differ in length, and how long the others are together with what every row costs.
SELECT space.nspname, class.relname,
       pg_relation_size(class.oid) / current_setting('block_size')::integer AS blocks,
       pg_table_size(class.oid) AS heap,
       pg_indexes_size(class.oid) AS indexes,
       ARRAY[pg_stat_get_tuples_inserted(class.oid), pg_stat_get_tuples_updated(class.oid),
             pg_stat_get_tuples_deleted(class.oid)] AS counters,
       ARRAY(SELECT attname::text FROM pg_attribute
             WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v' AND attlen < 0
             ORDER BY attnum) AS varying,
       28 + coalesce((SELECT sum(attlen) FROM pg_attribute
                      WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
                        AND attlen > 0), 0)::integer AS fixed
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS asked (schema, name)
JOIN pg_namespace AS space ON space.nspname = asked.schema
JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = asked.name AND class.relkind = 'r'

-- name: parts
-- Rows with equal references are counted first: whose they are is looked up once for all of them.
SELECT ({owner}) COLLATE "C", sum(r.{rows})::bigint, sum(r.{width})::bigint, sum(r.{new})::bigint
FROM (
    SELECT {columns}, count(*) AS {rows}, sum({varying}) AS {width}, count(*) FILTER (WHERE {is_new}) AS {new}
    FROM ONLY {table} AS r {sample} {joins}
    GROUP BY {columns}
) AS r
GROUP BY 1

-- name: join
-- Left: a row that refers to nothing counts too.
LEFT JOIN {table} AS {parent} ON {condition}

-- name: is_new
-- Not a plain comparison of ages: a row that was frozen two thousand million transactions ago seems to come from the
-- future, and is younger than anything.
age(r.xmin) BETWEEN 0 AND age({last}::xid)

-- name: sample
-- The same blocks each time.
TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0)

-- name: key_type
SELECT format_type(atttypid, -1)
FROM pg_attribute
WHERE attrelid = (SELECT class.oid FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = relnamespace
                  WHERE nspname = %(schema)s AND relname = %(name)s)
  AND attname = %(column)s

-- name: spelled
-- The ids as the root table spells them, of those that are equal to one there.
SELECT asked.id, root.{key}::text
FROM unnest({ids}::text[]) AS asked (id)
JOIN {table} AS root ON root.{key} {equality} CAST(asked.id AS {type})

-- name: labels
SELECT root.{key}::text, ARRAY[{columns}]::text[] FROM {table} AS root

-- name: custom
-- As a part of another query it can be nothing but a query.
SELECT found.tenant::text, sum(found.load)::float8
FROM ({query}
) AS found (tenant, load)
WHERE found.tenant IS NOT NULL AND found.load IS NOT NULL
GROUP BY 1
