-- name: server
-- All that one question tells: whether anything was written since, and what a test has left open.
-- A session that is idle and in a transaction is one that ends: it takes its temporary tables away.
SELECT pg_catalog.pg_current_wal_insert_lsn()::text,
       ARRAY(SELECT pg_catalog.jsonb_build_object(
                 'database', datname, 'pid', pid, 'query', query, 'is_forgotten', state <> 'active' AND state <> 'idle')
             FROM pg_catalog.pg_stat_activity
             WHERE datname = ANY (%(databases)s) AND xact_start IS NOT NULL AND backend_type = 'client backend'
             ORDER BY pid),
       ARRAY(SELECT pg_catalog.jsonb_build_object('database', database, 'gid', gid)
             FROM pg_catalog.pg_prepared_xacts
             WHERE database = ANY (%(databases)s)
             ORDER BY prepared)

-- name: end_session
-- Waits: what it held is free afterwards.
SELECT pg_catalog.pg_terminate_backend(%(pid)s, 5000)

-- name: sessions
SELECT pid
FROM pg_catalog.pg_stat_activity
WHERE datname = %(database)s AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()

-- name: tables
-- A table's rows are read with ONLY: those of partitions and children are theirs.
SELECT space.nspname,
       class.relname,
       class.relkind = 'm' AS is_view,
       pg_catalog.pg_relation_size(class.oid) AS size,
       ARRAY(SELECT attname::text
             FROM pg_catalog.pg_attribute
             WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
             ORDER BY attnum) AS columns
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE class.relkind IN ('r', 'm')
  AND class.relpersistence <> 't'
  AND space.nspname NOT LIKE 'pg\_%'
  AND space.nspname <> 'information_schema'
ORDER BY 1, 2

-- name: sequences
SELECT space.nspname, class.relname
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE class.relkind = 'S' AND class.relpersistence <> 't'
ORDER BY 1, 2

-- name: mark
-- The first transaction that is later than all that is there.
SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint % 4294967296

-- name: stubborn_triggers
-- They fire for those who clean, too, and write who knows where.
SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgenabled IN ('A', 'R') AND NOT tgisinternal)
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_enabled IN ('A', 'R') AND ev_type <> '1')

-- name: look
-- A row's xmin never goes back: rows older than the mark are those that were there, if they are as many. Of all catalogs
-- together, too: in none can they have become more. It is asked after every test: prepared, and with the fewest parts.
PREPARE shardwright_look (text) AS
SELECT catalog.counts, settings.found, ARRAY[{empty}]::boolean[], ARRAY[{filled}]::bigint[], moved.lasts, moved.called
FROM (SELECT {counts} AS counts FROM (
           SELECT xmin FROM pg_catalog.pg_class WHERE oid >= 16384 AND relpersistence <> 't' UNION ALL
           SELECT xmin FROM pg_catalog.pg_attribute WHERE attrelid >= 16384 AND attnum > 0 UNION ALL
           SELECT xmin FROM pg_catalog.pg_index WHERE indexrelid >= 16384 UNION ALL
           SELECT xmin FROM pg_catalog.pg_attrdef UNION ALL
           SELECT xmin FROM pg_catalog.pg_trigger UNION ALL
           SELECT xmin FROM pg_catalog.pg_inherits UNION ALL
           SELECT xmin FROM pg_catalog.pg_policy UNION ALL
           SELECT xmin FROM pg_catalog.pg_sequence UNION ALL
           SELECT xmin FROM pg_catalog.pg_rewrite WHERE oid >= 16384 UNION ALL
           SELECT xmin FROM pg_catalog.pg_constraint WHERE oid >= 16384 UNION ALL
           SELECT xmin FROM pg_catalog.pg_type WHERE oid >= 16384 UNION ALL
           SELECT xmin FROM pg_catalog.pg_proc WHERE oid >= 16384 UNION ALL
           SELECT xmin FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\_%temp\_%' UNION ALL
           SELECT xmin FROM pg_catalog.pg_enum UNION ALL
           SELECT xmin FROM pg_catalog.pg_operator WHERE oid >= 16384 UNION ALL
           SELECT xmin FROM pg_catalog.pg_cast WHERE oid >= 16384 UNION ALL
           SELECT xmin FROM pg_catalog.pg_collation WHERE oid >= 16384 UNION ALL
           SELECT xmin FROM pg_catalog.pg_extension UNION ALL
           SELECT xmin FROM pg_catalog.pg_event_trigger UNION ALL
           SELECT xmin FROM pg_catalog.pg_publication UNION ALL
           SELECT xmin FROM pg_catalog.pg_publication_rel UNION ALL
           SELECT xmin FROM pg_catalog.pg_default_acl UNION ALL
           SELECT xmin FROM pg_catalog.pg_statistic_ext UNION ALL
           SELECT xmin FROM pg_catalog.pg_foreign_server UNION ALL
           SELECT xmin FROM pg_catalog.pg_foreign_table UNION ALL
           SELECT xmin FROM pg_catalog.pg_largeobject_metadata UNION ALL
           SELECT xmin FROM pg_catalog.pg_largeobject
     ) AS entry) AS catalog,
     (SELECT pg_catalog.array_agg(pg_catalog.concat_ws(' ', setrole, setconfig) ORDER BY setrole) AS found
      FROM pg_catalog.pg_db_role_setting
      WHERE setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
     ) AS settings,
     (SELECT pg_catalog.array_agg(last_value) AS lasts, pg_catalog.array_agg(is_called) AS called FROM (
           {sequences}
     ) AS sequence) AS moved

-- name: ask
EXECUTE shardwright_look ({mark})

-- name: counts
ARRAY[count(*) FILTER (WHERE pg_catalog.age(xmin) > (SELECT pg_catalog.age({mark}::text::xid))), count(*)]

-- name: lasting_catalog
-- Temporary tables are somebody's session's, and no part of the schema. Asked where `look` finds the catalogs changed.
WITH passing AS MATERIALIZED (
    SELECT pg_catalog.array_agg(oid) AS spaces
    FROM pg_catalog.pg_namespace WHERE nspname LIKE 'pg\_temp\_%' OR nspname LIKE 'pg\_toast\_temp\_%'
), lasting AS MATERIALIZED (
    SELECT class.oid, class.xmin
    FROM pg_catalog.pg_class AS class
    WHERE class.oid >= 16384 AND class.relpersistence <> 't'
), catalog (xmin) AS (
    SELECT xmin FROM lasting
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_attribute AS entry JOIN lasting ON lasting.oid = entry.attrelid
    WHERE entry.attrelid >= 16384 AND entry.attnum > 0
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_index AS entry JOIN lasting ON lasting.oid = entry.indexrelid
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_attrdef AS entry JOIN lasting ON lasting.oid = entry.adrelid
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_trigger AS entry JOIN lasting ON lasting.oid = entry.tgrelid
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_inherits AS entry JOIN lasting ON lasting.oid = entry.inhrelid
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_policy AS entry
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_sequence AS entry JOIN lasting ON lasting.oid = entry.seqrelid
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_rewrite AS entry WHERE oid >= 16384
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_constraint AS entry, passing
    WHERE oid >= 16384 AND connamespace <> ALL (coalesce(spaces, '{{}}'))
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_type AS entry, passing
    WHERE oid >= 16384 AND typnamespace <> ALL (coalesce(spaces, '{{}}'))
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_proc AS entry, passing
    WHERE oid >= 16384 AND pronamespace <> ALL (coalesce(spaces, '{{}}'))
    UNION ALL
    SELECT entry.xmin FROM pg_catalog.pg_namespace AS entry, passing WHERE oid <> ALL (coalesce(spaces, '{{}}'))
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_enum
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_operator WHERE oid >= 16384
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_cast WHERE oid >= 16384
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_collation WHERE oid >= 16384
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_extension
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_event_trigger
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_publication
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_publication_rel
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_default_acl
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_statistic_ext
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_foreign_server
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_foreign_table
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_largeobject_metadata
    UNION ALL
    SELECT xmin FROM pg_catalog.pg_largeobject
)
SELECT count(*) FILTER (WHERE pg_catalog.age(xmin) > (SELECT pg_catalog.age({mark}::text::xid))), count(*)
FROM catalog

-- name: has_rows
EXISTS (SELECT FROM ONLY {table})

-- name: how_many
(SELECT {counts} FROM ONLY {table})

-- name: no_position
SELECT NULL::bigint AS last_value, NULL::boolean AS is_called WHERE false

-- name: position
SELECT last_value, is_called FROM {sequence}

-- name: any_row
SELECT EXISTS (SELECT FROM ONLY {table})

-- name: take_rows
COPY (SELECT {columns} FROM ONLY {table}) TO STDOUT (FORMAT binary)

-- name: give_rows
COPY {table} ({columns}) FROM STDIN (FORMAT binary)

-- name: delete_all
DELETE FROM ONLY {table}

-- name: delete_new
DELETE FROM ONLY {table} WHERE pg_catalog.age(xmin) <= pg_catalog.age({mark}::text::xid)

-- name: set_back
SELECT pg_catalog.setval({sequence}, {last}, {is_called})

-- name: vacuum
VACUUM (ANALYZE false) {table}

-- name: large
PREPARE shardwright_large (text[]) AS
SELECT number
FROM pg_catalog.unnest($1) WITH ORDINALITY AS class (name, number)
WHERE pg_catalog.pg_relation_size(name::pg_catalog.regclass) > {few}

-- name: ask_large
EXECUTE shardwright_large ({tables})

-- name: allow_connections
ALTER DATABASE {database} ALLOW_CONNECTIONS {allowed}

-- name: type_of_key
SELECT pg_catalog.format_type(atttypid, atttypmod)
FROM pg_catalog.pg_index
JOIN pg_catalog.pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
WHERE indrelid = pg_catalog.to_regclass(%(table)s) AND indisprimary
