-- name: root
-- The table by its name as it stands in the configuration: bare or with its schema, as it is or as SQL would quote it.
-- Not to_regclass(), which fails on names that are no SQL.
SELECT space.nspname, class.relname,
       ARRAY(SELECT attribute.attname::text
             FROM pg_catalog.pg_index AS index
             JOIN pg_catalog.pg_attribute AS attribute
               ON attribute.attrelid = class.oid AND attribute.attnum = ANY (index.indkey)
             WHERE index.indrelid = class.oid AND index.indisprimary) AS keys,
       (SELECT pg_catalog.format_type(attribute.atttypid, -1)
        FROM pg_catalog.pg_index AS index
        JOIN pg_catalog.pg_attribute AS attribute
          ON attribute.attrelid = class.oid AND attribute.attnum = index.indkey[0]
        WHERE index.indrelid = class.oid AND index.indisprimary) AS type
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
CROSS JOIN LATERAL (VALUES
    (1, class.relname::text, true),
    (2, space.nspname || '.' || class.relname, false),
    (3, quote_ident(class.relname), true),
    (4, quote_ident(space.nspname) || '.' || quote_ident(class.relname), false)
) AS spelling (rank, name, is_bare)
WHERE class.relkind IN ('r', 'p') AND spelling.name = %(root)s
  AND (NOT spelling.is_bare OR pg_catalog.pg_table_is_visible(class.oid))
ORDER BY spelling.rank
LIMIT 1

-- name: read_ids
COPY (SELECT {shard}, {key}::text FROM {table}) TO STDOUT

-- name: look_for
WITH asked AS MATERIALIZED (SELECT CAST(%(tenant)s::text AS {type}) AS id)
SELECT asked.id::text, EXISTS (SELECT FROM {table} WHERE {key} = asked.id) FROM asked

-- name: is_empty
SELECT NOT EXISTS (SELECT FROM {table})
