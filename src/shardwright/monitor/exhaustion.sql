-- name: sequences
-- Each with the columns that its numbers are written to: its own, those whose default draws from it, and those that
-- refer to such a column by a foreign key of one column; `ceiling` is the highest number that the narrowest holds.
WITH drawing AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
    FROM pg_catalog.pg_depend AS d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
        AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    SELECT d.refobjid, given.adrelid, given.adnum
    FROM pg_catalog.pg_depend AS d
    JOIN pg_catalog.pg_attrdef AS given ON given.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
), holding AS (
    SELECT sequence, relation, number FROM drawing
    UNION
    SELECT drawing.sequence, conrelid, conkey[1]
    FROM drawing
    JOIN pg_catalog.pg_constraint ON contype = 'f' AND confrelid = relation AND confkey = ARRAY[number]::int2[]
), narrowest AS (
    SELECT DISTINCT ON (sequence)
        sequence, space.nspname, class.relname, attname,
        CASE base.oid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE 9223372036854775807 END AS ceiling
    FROM holding
    JOIN pg_catalog.pg_class AS class ON class.oid = relation
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_attribute ON attrelid = relation AND attnum = number AND NOT attisdropped
    JOIN pg_catalog.pg_type ON pg_type.oid = atttypid
    JOIN pg_catalog.pg_type AS base ON base.oid = CASE pg_type.typtype WHEN 'd' THEN pg_type.typbasetype ELSE pg_type.oid END
    WHERE base.oid IN (20, 21, 23)
    ORDER BY sequence, ceiling, class.relname, attname
)
SELECT space.nspname, class.relname, seqincrement, seqmin, seqmax, seqcycle, may_read,
       CASE WHEN may_read THEN pg_catalog.pg_sequence_last_value(class.oid) END,
       narrowest.nspname, narrowest.relname, narrowest.attname, narrowest.ceiling
FROM pg_catalog.pg_sequence
JOIN pg_catalog.pg_class AS class ON class.oid = seqrelid
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
CROSS JOIN LATERAL (SELECT pg_catalog.has_sequence_privilege(class.oid, 'SELECT,USAGE')) AS held (may_read)
LEFT JOIN narrowest ON sequence = class.oid
WHERE space.nspname <> 'shardwright' AND class.relpersistence <> 't'
ORDER BY 1, 2

-- name: keys
-- Primary keys of one integer column that draws from no sequence, and refers to no other table's column.
SELECT space.nspname, class.relname, attname,
       CASE base.oid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE 9223372036854775807 END,
       pg_catalog.has_column_privilege(class.oid, attnum, 'SELECT') AND NOT pg_catalog.row_security_active(class.oid)
FROM pg_catalog.pg_index
JOIN pg_catalog.pg_class AS class ON class.oid = indrelid
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
JOIN pg_catalog.pg_attribute ON attrelid = class.oid AND attnum = indkey[0]
JOIN pg_catalog.pg_type ON pg_type.oid = atttypid
JOIN pg_catalog.pg_type AS base ON base.oid = CASE pg_type.typtype WHEN 'd' THEN pg_type.typbasetype ELSE pg_type.oid END
WHERE indisprimary AND indnkeyatts = 1 AND base.oid IN (20, 21, 23)
    AND class.relkind IN ('r', 'p') AND NOT class.relispartition AND class.relpersistence <> 't'
    AND space.nspname NOT IN ('shardwright', 'information_schema') AND NOT starts_with(space.nspname, 'pg_')
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_sequence ON seqrelid = d.objid
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
            AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = class.oid AND d.refobjsubid = attnum
    )
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_attrdef AS given
        JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = given.oid
        JOIN pg_catalog.pg_sequence ON seqrelid = d.refobjid
        WHERE given.adrelid = class.oid AND given.adnum = attnum
    )
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint
        WHERE contype = 'f' AND conrelid = class.oid AND conkey = ARRAY[attnum]::int2[]
    )
ORDER BY 1, 2

-- name: highest
SELECT {place}::int, pg_catalog.max({column})::bigint FROM {table}

-- name: ages
-- Of the oldest transaction, and multixact, that the database still remembers: both are numbered with 32 bits.
SELECT pg_catalog.age(datfrozenxid), pg_catalog.mxid_age(datminmxid)
FROM pg_catalog.pg_database
WHERE datname = pg_catalog.current_database()
