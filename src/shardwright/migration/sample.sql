-- name: tables
-- What pg_dump would dump the rows of, but the revisions: partitions one by one, nothing that an extension brought.
SELECT class.oid::bigint,
       space.nspname,
       class.relname,
       class.reltuples::float8,
       ARRAY(
           SELECT attname FROM pg_catalog.pg_attribute
           WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
           ORDER BY attnum
       )::text[]
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
WHERE class.relkind = 'r'
  AND class.relpersistence <> 't'
  AND space.nspname NOT IN ('information_schema', 'shardwright')
  AND space.nspname NOT LIKE 'pg\_%%'
  AND class.oid IS DISTINCT FROM pg_catalog.to_regclass(%(version_table)s)
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend
      WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objid = class.oid AND deptype = 'e'
  )
ORDER BY space.nspname, class.relname

-- name: references
SELECT key.conrelid::bigint,
       space.nspname,
       parent.relname,
       ARRAY(
           SELECT attname FROM pg_catalog.unnest(key.conkey) WITH ORDINALITY AS part (number, place)
           JOIN pg_catalog.pg_attribute ON attrelid = key.conrelid AND attnum = part.number ORDER BY part.place
       )::text[],
       ARRAY(
           SELECT attname FROM pg_catalog.unnest(key.confkey) WITH ORDINALITY AS part (number, place)
           JOIN pg_catalog.pg_attribute ON attrelid = key.confrelid AND attnum = part.number ORDER BY part.place
       )::text[]
FROM pg_catalog.pg_constraint AS key
JOIN pg_catalog.pg_class AS parent ON parent.oid = key.confrelid
JOIN pg_catalog.pg_namespace AS space ON space.oid = parent.relnamespace
WHERE key.contype = 'f'

-- name: some_rows
SELECT ctid::text FROM ONLY {table} TABLESAMPLE SYSTEM ({percent}) LIMIT {rows}

-- name: parents
SELECT DISTINCT parent.tableoid::bigint, parent.ctid::text
FROM ONLY {child} AS child
JOIN {parent} AS parent ON {condition}
WHERE child.ctid = ANY ({rows}::tid[])

-- name: copy_out
COPY (SELECT {columns} FROM ONLY {table} WHERE ctid = ANY ({rows}::tid[])) TO STDOUT

-- name: copy_in
COPY {table} ({columns}) FROM STDIN

-- name: sequences
SELECT schemaname, sequencename, last_value
FROM pg_catalog.pg_sequences
WHERE last_value IS NOT NULL AND schemaname <> 'shardwright'

-- name: set_sequences
SELECT pg_catalog.setval(pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', schema, name)), value)
FROM unnest(%(schemas)s::text[], %(names)s::text[], %(values)s::bigint[]) AS sequence (schema, name, value)
