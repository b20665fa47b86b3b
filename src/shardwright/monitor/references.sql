-- name: search_path
SELECT pg_catalog.current_schemas(false)::text[]

-- name: only_the_catalog
-- From here on no name of the user's can stand for one of PostgreSQL's; tables are named with their schemas.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)

-- name: column
-- One column of one table: what its values are compared as, and the key by which its table is walked (none: none whose
-- order PostgreSQL itself knows, or rows of tables that inherit from it would come between). Integers of all sizes compare with each other, and so do texts.
WITH RECURSIVE chosen AS (
    SELECT class.oid, class.relname, class.relkind, space.nspname, attname, attnum, atttypid AS type,
           class.relkind = 'r' AND class.relhassubclass AS has_heirs
    FROM unnest(%(schemas)s::text[]) WITH ORDINALITY AS path (schema, place)
    JOIN pg_namespace AS space ON space.nspname = path.schema
    JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = %(table)s AND relkind IN ('r', 'p')
    LEFT JOIN pg_attribute ON attrelid = class.oid AND attname = %(column)s AND attnum > 0 AND NOT attisdropped
    ORDER BY path.place
    LIMIT 1
), under AS (
    SELECT pg_type.oid, typtype, typbasetype FROM chosen JOIN pg_type ON pg_type.oid = chosen.type
    UNION ALL
    SELECT pg_type.oid, pg_type.typtype, pg_type.typbasetype
    FROM under JOIN pg_type ON pg_type.oid = under.typbasetype
    WHERE under.typtype = 'd'
), base AS (
    SELECT oid FROM under WHERE typtype <> 'd'
), walk AS (
    SELECT entry.indexrelid, entry.indrelid, entry.indkey, entry.indnkeyatts
    FROM chosen
    JOIN pg_index AS entry ON entry.indrelid = chosen.oid
    WHERE entry.indisunique AND entry.indisvalid AND entry.indimmediate AND entry.indpred IS NULL
        AND entry.indexprs IS NULL AND NOT chosen.has_heirs
        AND NOT EXISTS (
            SELECT
            FROM unnest(entry.indkey::int2[]) WITH ORDINALITY AS part (number, place)
            JOIN pg_attribute ON attrelid = entry.indrelid AND attnum = part.number
            JOIN pg_type ON pg_type.oid = atttypid
            WHERE part.place <= entry.indnkeyatts
                AND (NOT attnotnull OR pg_type.typnamespace <> 'pg_catalog'::regnamespace AND typtype <> 'e')
        )
    ORDER BY entry.indisprimary DESC, entry.indnkeyatts, entry.indexrelid
    LIMIT 1
)
SELECT nspname AS schema, relname AS table, attname AS column,
       format_type(chosen.type, NULL) AS shown,
       CASE WHEN base.oid IN (20, 21, 23) THEN 'bigint' WHEN base.oid IN (25, 1042, 1043) THEN 'text'
           ELSE format_type(base.oid, -1) END AS compared,
       coalesce((
           SELECT format('OPERATOR(%%I.%%s)', space.nspname, oprname)
           FROM pg_opclass
           JOIN pg_amop ON amopfamily = opcfamily AND amoplefttype = opcintype AND amoprighttype = opcintype
           JOIN pg_operator ON pg_operator.oid = amopopr
           JOIN pg_namespace AS space ON space.oid = oprnamespace
           WHERE opcmethod = 403 AND opcdefault AND opcintype = base.oid AND amopstrategy = 3
               AND base.oid NOT IN (20, 21, 23, 25, 1042, 1043)
       ), 'OPERATOR(pg_catalog.=)') AS equality,
       coalesce((
           SELECT json_agg(json_build_array(attname, format_type(atttypid, -1)) ORDER BY part.place)
           FROM walk, unnest(walk.indkey::int2[]) WITH ORDINALITY AS part (number, place)
           JOIN pg_attribute ON true
           WHERE part.place <= walk.indnkeyatts AND attrelid = walk.indrelid AND attnum = part.number
       ), '[]') AS keys
FROM chosen
LEFT JOIN base ON true

-- name: page
-- The next rows by their key; of those whose value the shard itself does not have, each value with how many there are
-- and one of them by its key. The line without a value is the page's end: rows in it, lines in it, key of the last.
WITH page AS MATERIALIZED (
    SELECT {keys}, {value} AS v FROM {table} AS r {after} ORDER BY {order} LIMIT {size}
), found AS MATERIALIZED (
    SELECT v::{compared}::text AS value, count(*) AS rows, min(concat_ws(', ', {texts})) AS place
    FROM page WHERE v IS NOT NULL GROUP BY 1
)
SELECT value, rows, place, NULL::text[] FROM found {missing}
UNION ALL
SELECT NULL, count(*), count(*)::text, (SELECT ARRAY[{texts}]::text[] FROM page ORDER BY {backwards} LIMIT 1) FROM page

-- name: values
-- The same for a table without a key: by its values, each page a look at the whole table.
WITH page AS MATERIALIZED (
    SELECT {value}::{compared}::text COLLATE "C" AS value, count(*) AS rows
    FROM {table} AS r WHERE {value} IS NOT NULL {after} GROUP BY 1 ORDER BY 1 LIMIT {size}
)
SELECT value, rows, NULL, NULL::text[] FROM page AS found {missing}
UNION ALL
SELECT NULL, coalesce(sum(rows), 0)::bigint, count(*)::text, ARRAY[max(value)] FROM page

-- name: missing
WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE {column} {equality} found.value::{compared})

-- name: which_are_there
SELECT asked.value
FROM unnest({values}::text[]) AS asked (value)
WHERE EXISTS (SELECT FROM {table} AS t WHERE {column} {equality} asked.value::{compared})
