-- name: plain_path
-- So that types are printed with their schemas.
SELECT set_config('search_path', 'pg_catalog', true)

-- name: types
SELECT pg_catalog.format_type(type::oid, modifier)
FROM unnest(%(types)s::bigint[], %(modifiers)s::int[]) WITH ORDINALITY AS given (type, modifier, place)
ORDER BY place

-- name: reads
-- What the rule of a view depends on; of views in it, what theirs do. Partitions count as the table at the top.
WITH RECURSIVE seen (view) AS (
    SELECT 'pg_temp.shardwright_reads'::regclass::oid
    UNION
    SELECT refobjid
    FROM seen
    JOIN pg_rewrite ON ev_class = view
    JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid AND refclassid = 'pg_class'::regclass
    JOIN pg_class AS class ON class.oid = refobjid AND class.relkind = 'v'
),
needed AS (
    SELECT refclassid, refobjid, refobjsubid
    FROM seen
    JOIN pg_rewrite ON ev_class = view
    JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
)
SELECT DISTINCT space.nspname::text, class.relname::text, attname::text, false
FROM needed
JOIN pg_class AS class ON class.oid = coalesce(pg_partition_root(refobjid), refobjid::regclass) AND class.relkind <> 'v'
JOIN pg_namespace AS space ON space.oid = class.relnamespace
LEFT JOIN pg_attribute ON refobjsubid > 0 AND attrelid = refobjid AND attnum = refobjsubid
WHERE refclassid = 'pg_class'::regclass
UNION ALL
SELECT DISTINCT space.nspname::text, proname::text, NULL, true
FROM needed
JOIN pg_proc ON pg_proc.oid = refobjid AND provolatile <> 'i'
JOIN pg_namespace AS space ON space.oid = pronamespace
WHERE refclassid = 'pg_proc'::regclass
ORDER BY 1, 2, 3

-- name: is_assignable
-- Whether a value of the one type may be put into a column of the other without a word; any may into a text.
SELECT given.oid = wanted.oid
    OR EXISTS (
        SELECT FROM pg_cast
        WHERE castsource = given.oid AND casttarget = wanted.oid AND castcontext IN ('a', 'i')
    )
    OR wanted.typcategory = 'S'
FROM (SELECT pg_catalog.to_regtype(%(wanted)s)::oid AS oid) AS name
JOIN pg_type AS type ON type.oid = name.oid
JOIN pg_type AS wanted ON wanted.oid = CASE type.typtype WHEN 'd' THEN type.typbasetype ELSE type.oid END
CROSS JOIN (
    SELECT CASE typtype WHEN 'd' THEN typbasetype ELSE oid END AS oid FROM pg_type WHERE oid = %(given)s::bigint::oid
) AS given
