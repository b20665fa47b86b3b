-- name: most
SELECT max({column}) FROM {table} AS r WHERE {column} BETWEEN {low} AND {high}

-- name: go_on
-- Never lower: what a session draws meanwhile is far below {first}, which has the room above it.
SELECT pg_catalog.setval({text}, {first}, false) FROM {name} WHERE last_value < {first}

-- name: go_on_otherwise
ALTER SEQUENCE {name} INCREMENT BY {step} MINVALUE {lowest} MAXVALUE {highest} RESTART WITH {first}

-- name: lasts
SELECT space.nspname, class.relname, pg_catalog.pg_sequence_last_value(class.oid)
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS chosen (schema, name)
JOIN pg_catalog.pg_namespace AS space ON space.nspname = chosen.schema
JOIN pg_catalog.pg_class AS class ON class.relnamespace = space.oid AND class.relname = chosen.name
WHERE class.relkind = 'S' AND pg_catalog.pg_sequence_last_value(class.oid) IS NOT NULL
