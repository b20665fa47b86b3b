-- name: of_columns
-- Owned, identity, or named in a default.
SELECT DISTINCT
    space.nspname AS schema, class.relname AS table, attname AS column, their.nspname AS sequence_schema,
    sequence.relname AS sequence, seqincrement, seqmin, seqmax, seqcycle,
    CASE seqtypid::regtype::text WHEN 'smallint' THEN 32767 WHEN 'integer' THEN 2147483647
        ELSE 9223372036854775807 END AS ceiling
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_catalog.pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_catalog.pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
JOIN pg_catalog.pg_attribute ON attrelid = class.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_catalog.pg_attrdef AS given ON given.adrelid = class.oid AND given.adnum = attnum
JOIN pg_catalog.pg_depend AS d ON (
    d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = class.oid AND d.refobjsubid = attnum
        AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
    OR d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = given.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass
)
JOIN pg_catalog.pg_sequence ON seqrelid IN (d.objid, d.refobjid)
JOIN pg_catalog.pg_class AS sequence ON sequence.oid = seqrelid
JOIN pg_catalog.pg_namespace AS their ON their.oid = sequence.relnamespace
ORDER BY 1, 2, 3, 4, 5

-- name: of_no_column
SELECT
    space.nspname, class.relname, seqincrement, seqmin, seqmax, seqcycle,
    CASE seqtypid::regtype::text WHEN 'smallint' THEN 32767 WHEN 'integer' THEN 2147483647
        ELSE 9223372036854775807 END AS ceiling
FROM pg_catalog.pg_sequence
JOIN pg_catalog.pg_class AS class ON class.oid = seqrelid
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE space.nspname <> 'shardwright' AND class.relpersistence <> 't' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend AS d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = class.oid AND d.deptype IN ('a', 'i', 'e')
        OR d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = class.oid
            AND d.classid = 'pg_catalog.pg_attrdef'::regclass
)
ORDER BY 1, 2

-- name: position
SELECT last_value, is_called FROM {sequence}

-- name: which_are_there
SELECT space.nspname, class.relname
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_catalog.pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_catalog.pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
WHERE class.relkind = 'S'
