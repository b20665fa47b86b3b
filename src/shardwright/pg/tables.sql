-- name: search_path
SELECT pg_catalog.current_schemas(false)::text[]

-- name: tables
-- Every table of the user's, and the foreign tables among partitions; lists come as JSON. tables.py fixes the
-- search path, so that types and expressions are printed with their schemas. No OID may reach the result.
WITH chosen AS MATERIALIZED (
    SELECT class.*, space.nspname
    FROM pg_class AS class
    JOIN pg_namespace AS space ON space.oid = class.relnamespace
    WHERE (class.relkind IN ('r', 'p') OR class.relkind = 'f' AND class.relispartition)
        AND class.relpersistence <> 't'
        AND NOT starts_with(space.nspname, 'pg_')
        AND space.nspname NOT IN ('information_schema', 'shardwright', 'shardwright_engine')
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e'
        )
)
SELECT
    chosen.nspname,
    chosen.relname,
    CASE chosen.relkind WHEN 'p' THEN 'partitioned' WHEN 'f' THEN 'foreign' ELSE 'ordinary' END AS storage,
    chosen.relpersistence = 'u' AS is_unlogged,
    chosen.relrowsecurity AS has_row_security,
    chosen.relforcerowsecurity AS forces_row_security,
    CASE chosen.relreplident
        WHEN 'd' THEN 'default' WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full' ELSE 'index'
    END AS replica_identity,
    (
        SELECT coalesce(json_agg(json_build_object(
            'name', attname,
            'type', format_type(atttypid, atttypmod),
            'is_not_null', attnotnull,
            'generated', CASE attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
            'identity', CASE attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
            'default', CASE WHEN attgenerated = '' THEN pg_get_expr(adbin, adrelid) END,
            'expression', CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END,
            'collation', CASE WHEN attcollation <> pg_type.typcollation THEN attcollation::regcollation::text END,
            'equality', coalesce((
                SELECT format('OPERATOR(%%I.%%s)', space.nspname, oprname)
                FROM pg_opclass
                JOIN pg_amop ON amopfamily = opcfamily AND amoplefttype = opcintype AND amoprighttype = opcintype
                JOIN pg_operator ON pg_operator.oid = amopopr
                JOIN pg_namespace AS space ON space.oid = oprnamespace
                WHERE opcmethod = 403 AND opcdefault AND opcintype = base.oid AND amopstrategy = 3
            ), 'OPERATOR(pg_catalog.=)'),
            -- Arrays, composites and names of objects carry OIDs, which are other ones in another database. The server
            -- does not read the binary form of an empty vector that it has written itself.
            'is_portable', base.typsend <> 0 AND coalesce(item.typsend <> 0, true)
                AND coalesce(item.typname, base.typname) NOT LIKE 'reg%%'
                AND 'int2vector'::regtype NOT IN (base.oid, base.typelem)
                AND 'oidvector'::regtype NOT IN (base.oid, base.typelem)
                AND coalesce(item.typtype, base.typtype) <> 'c'
                AND (base.oid < 16384 OR base.typtype = 'e' OR base.typtype = 'b' AND base.typcategory <> 'A')
        ) ORDER BY attnum), '[]')
        FROM pg_attribute
        JOIN pg_type ON pg_type.oid = atttypid
        JOIN pg_type AS base ON base.oid = CASE WHEN pg_type.typtype <> 'd' THEN pg_type.oid ELSE (
            WITH RECURSIVE under AS (
                SELECT pg_type.typbasetype AS type
                UNION ALL
                SELECT typbasetype FROM under JOIN pg_type AS domain ON domain.oid = type WHERE domain.typtype = 'd'
            )
            SELECT type FROM under JOIN pg_type AS last ON last.oid = type WHERE last.typtype <> 'd'
        ) END
        LEFT JOIN pg_type AS item ON item.oid = base.typelem AND base.typcategory = 'A'
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = chosen.oid AND attnum > 0 AND NOT attisdropped
    ) AS columns,
    (
        SELECT coalesce(json_agg(json_build_object(
            'name', index.relname,
            'columns', ARRAY(
                SELECT attname
                FROM unnest(indkey::int2[]) WITH ORDINALITY AS part (number, place)
                JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number
                WHERE part.place <= indnkeyatts
                ORDER BY part.place
            ),
            'is_primary', indisprimary,
            'is_constraint', EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = indrelid AND conindid = indexrelid AND contype IN ('p', 'u')
            ),
            'is_deferrable', NOT indimmediate,
            'is_partial', indpred IS NOT NULL,
            'has_expressions', indexprs IS NOT NULL,
            'nulls_are_equal', indnullsnotdistinct
        ) ORDER BY index.relname COLLATE "C"), '[]')
        FROM pg_index
        JOIN pg_class AS index ON index.oid = indexrelid
        WHERE indrelid = chosen.oid AND indisunique AND indisvalid
    ) AS uniques,
    (
        SELECT coalesce(json_agg(json_build_object(
            'name', conname,
            'columns', ARRAY(
                SELECT attname FROM unnest(conkey) WITH ORDINALITY AS part (number, place)
                JOIN pg_attribute ON attrelid = conrelid AND attnum = part.number ORDER BY part.place
            ),
            'schema', there.nspname,
            'table', referenced.relname,
            'referenced_columns', ARRAY(
                SELECT attname FROM unnest(confkey) WITH ORDINALITY AS part (number, place)
                JOIN pg_attribute ON attrelid = confrelid AND attnum = part.number ORDER BY part.place
            ),
            'operators', ARRAY(
                SELECT (
                    SELECT format('OPERATOR(%%I.%%s)', nspname, oprname)
                    FROM pg_operator
                    JOIN pg_namespace ON pg_namespace.oid = oprnamespace
                    WHERE pg_operator.oid = part.number
                )
                FROM unnest(conpfeqop) WITH ORDINALITY AS part (number, place)
                ORDER BY part.place
            ),
            'on_delete', CASE confdeltype
                WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade'
                WHEN 'n' THEN 'set null' ELSE 'set default'
            END,
            'on_update', CASE confupdtype
                WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade'
                WHEN 'n' THEN 'set null' ELSE 'set default'
            END,
            'is_deferrable', condeferrable,
            'is_validated', convalidated
        ) ORDER BY conname COLLATE "C"), '[]')
        FROM pg_constraint
        JOIN pg_class AS referenced ON referenced.oid = confrelid
        JOIN pg_namespace AS there ON there.oid = referenced.relnamespace
        -- A partition's copy of its parent's foreign key, or a copy for each partition referred to, has a parent.
        WHERE conrelid = chosen.oid AND contype = 'f' AND conparentid = 0
    ) AS foreign_keys,
    (
        SELECT coalesce(json_agg(json_build_object(
            'schema', space.nspname, 'name', class.relname, 'column', attname
        ) ORDER BY attnum, class.relname COLLATE "C"), '[]')
        FROM pg_depend
        JOIN pg_class AS class ON class.oid = objid AND class.relkind = 'S'
        JOIN pg_namespace AS space ON space.oid = class.relnamespace
        JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
        WHERE refclassid = 'pg_class'::regclass AND refobjid = chosen.oid
            AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    ) AS sequences,
    ARRAY(
        SELECT tgname
        FROM pg_trigger
        JOIN pg_proc ON pg_proc.oid = tgfoid
        WHERE tgrelid = chosen.oid AND NOT tgisinternal AND tgparentid = 0
            AND pronamespace IS DISTINCT FROM to_regnamespace('shardwright')
        ORDER BY tgname COLLATE "C"
    )::text[] AS triggers,
    (
        SELECT coalesce(json_agg(json_build_object('schema', space.nspname, 'name', class.relname)
            ORDER BY inhseqno), '[]')
        FROM pg_inherits
        JOIN pg_class AS class ON class.oid = inhparent
        JOIN pg_namespace AS space ON space.oid = class.relnamespace
        WHERE inhrelid = chosen.oid
    ) AS parents,
    chosen.relispartition AS is_partition,
    pg_get_partkeydef(chosen.oid) AS partition_key,
    greatest(nullif(chosen.reltuples, -1)::bigint, pg_stat_get_live_tuples(chosen.oid)) AS rows,
    coalesce(CASE WHEN chosen.relkind = 'r' THEN pg_total_relation_size(chosen.oid) END, 0) AS bytes
FROM chosen
