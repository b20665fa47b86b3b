-- Queries that take %(schemas)s and %(names)s look at the tables of those names (Side.ask_of).

-- name: plain_path
-- So that types, expressions and operators are printed with their schemas.
SELECT set_config('search_path', 'pg_catalog, pg_temp', true)

-- name: mark
-- A lock of this session alone, which shows in pg_locks of this very database and of no other.
SELECT pg_try_advisory_lock(%(number)s)

-- name: unmark
SELECT pg_advisory_unlock(%(number)s)

-- name: is_marked
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32) | objid::bigint = %(number)s
)

-- name: server
SELECT
    current_setting('server_version_num')::int AS number,
    current_setting('server_version') AS version,
    current_setting('server_encoding') AS encoding

-- name: locale
-- As JSON, because the locale's column has another name from PostgreSQL 17 on.
SELECT
    CASE datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END,
    datcollate,
    datctype,
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', '')
FROM pg_database AS d
WHERE datname = current_database()

-- name: read_only
SELECT
    pg_is_in_recovery(),
    current_setting('default_transaction_read_only')::bool,
    (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only')

-- name: remember
SELECT set_config('shardwright.preflight', %(word)s, false), pg_backend_pid()

-- name: remembered
SELECT current_setting('shardwright.preflight', true), pg_backend_pid()

-- name: database_rights
SELECT
    current_database()::text,
    has_database_privilege(current_database(), 'CREATE'),
    has_database_privilege(current_database(), 'TEMP'),
    coalesce(has_schema_privilege(to_regnamespace('shardwright')::oid, 'USAGE')
        AND has_schema_privilege(to_regnamespace('shardwright')::oid, 'CREATE'), true)

-- name: owners
SELECT space.nspname, class.relname, pg_get_userbyid(class.relowner), owner.rolsuper
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
JOIN pg_roles AS owner ON owner.oid = class.relowner
WHERE NOT pg_has_role(class.relowner, 'USAGE')
ORDER BY 1, 2

-- name: missing_rights
SELECT space.nspname, class.relname, has_schema_privilege(space.oid, 'USAGE'), ARRAY(
    SELECT wish FROM unnest(%(wishes)s::text[]) AS wish WHERE NOT has_table_privilege(class.oid, wish)
)
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
WHERE NOT has_schema_privilege(space.oid, 'USAGE')
    OR NOT (SELECT bool_and(has_table_privilege(class.oid, wish)) FROM unnest(%(wishes)s::text[]) AS wish)
ORDER BY 1, 2

-- name: row_security
SELECT space.nspname, class.relname
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
WHERE row_security_active(class.oid)
ORDER BY 1, 2

-- name: triggers
-- Bits of tgtype: 4 INSERT, 8 DELETE. A partition's copy of its table's trigger has a parent.
SELECT space.nspname, class.relname, tgname, tgenabled IN ('A', 'R') AS is_for_replicas, tgenabled <> 'R' AS is_for_us
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
JOIN pg_trigger ON tgrelid = class.oid AND NOT tgisinternal AND tgparentid = 0 AND tgenabled <> 'D'
JOIN pg_proc ON pg_proc.oid = tgfoid AND pronamespace IS DISTINCT FROM to_regnamespace('shardwright')
WHERE tgtype & %(events)s <> 0
ORDER BY 1, 2, 3

-- name: connections
-- What is left for one more session: of the server, of the database, of the role; null where nothing is limited.
SELECT
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)
        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    CASE WHEN datconnlimit >= 0 AND NOT rolsuper THEN datconnlimit
        - (SELECT count(*) FROM pg_stat_activity WHERE datid = d.oid AND backend_type = 'client backend') END,
    CASE WHEN rolconnlimit >= 0 AND NOT rolsuper THEN rolconnlimit
        - (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid AND backend_type = 'client backend') END
FROM pg_database AS d, pg_roles AS r
WHERE datname = current_database() AND rolname = current_user

-- name: long_transactions
SELECT
    pid, usename, application_name, state,
    extract('epoch' FROM clock_timestamp() - xact_start)::int,
    left(regexp_replace(query, '\s+', ' ', 'g'), 80)
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND xact_start < clock_timestamp() - make_interval(secs => %(seconds)s)
ORDER BY xact_start

-- name: prepared
SELECT gid, owner, extract('epoch' FROM clock_timestamp() - prepared)::int
FROM pg_prepared_xacts
WHERE database = current_database()
ORDER BY prepared

-- name: has_moves
SELECT EXISTS (
    SELECT FROM pg_class JOIN pg_namespace AS space ON space.oid = relnamespace
    WHERE nspname = 'shardwright' AND relname = 'move'
)

-- name: moves
SELECT move, side FROM shardwright.move WHERE tenant = %(tenant)s ORDER BY move

-- name: exclusive_constraints
-- What forbids two rows at once: unique indexes and exclusion constraints, also those that are still being built.
-- Of each part: its expression, the column if it is one, its type, and the operator by which two rows collide.
SELECT
    space.nspname, class.relname, index.relname,
    indisprimary AS is_primary,
    indnullsnotdistinct AS nulls_are_equal,
    pg_get_expr(indpred, indrelid) AS predicate,
    (
        SELECT json_agg(json_build_array(
            pg_get_indexdef(indexrelid, place::int, false)
                || CASE WHEN indcollation[place::int - 1] <> 0 THEN
                    ' COLLATE ' || indcollation[place::int - 1]::regcollation::text ELSE '' END,
            attname,
            coalesce(format_type(atttypid, atttypmod), (
                SELECT format_type(part.atttypid, part.atttypmod)
                FROM pg_attribute AS part WHERE part.attrelid = indexrelid AND part.attnum = place
            )),
            (
                SELECT format('OPERATOR(%%I.%%s)', theirs.nspname, oprname)
                FROM pg_operator JOIN pg_namespace AS theirs ON theirs.oid = oprnamespace
                WHERE pg_operator.oid = coalesce(conexclop[place::int], (
                    SELECT amopopr FROM pg_amop
                    WHERE amopfamily = opcfamily AND amopstrategy = 3
                        AND amoplefttype = opcintype AND amoprighttype = opcintype
                ))
            )
        ) ORDER BY place)
        FROM unnest(indkey::int2[], indclass::oid[]) WITH ORDINALITY AS part (number, opclass, place)
        JOIN pg_opclass ON pg_opclass.oid = part.opclass
        LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number AND part.number > 0
    ) AS parts
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
JOIN pg_index ON indrelid = class.oid AND (indisunique OR indisexclusion) AND indisready
JOIN pg_class AS index ON index.oid = indexrelid
LEFT JOIN pg_constraint ON conindid = indexrelid AND conrelid = indrelid AND contype IN ('p', 'u', 'x')
WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid)
ORDER BY space.nspname, class.relname, NOT indisprimary, index.relname

-- name: unvalidated
-- As JSON, because columns of newer versions are asked for.
SELECT
    space.nspname, class.relname, conname,
    CASE contype WHEN 'n' THEN (
        SELECT format('%%I IS NOT NULL', attname) FROM pg_attribute
        WHERE attrelid = conrelid AND attnum = conkey[1]
    ) ELSE pg_get_expr(conbin, conrelid) END
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
JOIN pg_constraint AS con ON conrelid = class.oid AND contype IN ('c', 'n') AND NOT convalidated
WHERE coalesce((to_jsonb(con) ->> 'conenforced')::bool, true)
ORDER BY 1, 2, 3
