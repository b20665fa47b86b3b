-- name: most
SELECT max({column}) FROM {table} AS r WHERE {column} BETWEEN {low} AND {high}

-- name: go_on
-- Never lower: what a session draws meanwhile is far below {first}, which has the room above it.
SELECT pg_catalog.setval({text}, {first}, false) FROM {name} WHERE last_value < {first}

-- name: go_on_otherwise
ALTER SEQUENCE {name} INCREMENT BY {step} MINVALUE {lowest} MAXVALUE {highest} RESTART WITH {first}
