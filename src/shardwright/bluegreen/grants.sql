-- name: held
-- What roles may do with relations and schemas, their owners too; not with sequences of identity columns, for which
-- nobody is asked.
SELECT kind, space, name, role, array_agg(DISTINCT privilege_type ORDER BY privilege_type)
FROM (
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname::text, relname::text, grantee, privilege_type
    FROM pg_catalog.pg_class
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(
        relacl, pg_catalog.acldefault((CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner)))
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
      AND privilege_type = ANY (CASE relkind WHEN 'S' THEN ARRAY['USAGE', 'SELECT', 'UPDATE']
                                             ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend
                      WHERE classid = 'pg_catalog.pg_class'::regclass AND objid = pg_class.oid AND deptype = 'i')
    UNION ALL
    SELECT 'SCHEMA', nspname::text, '', grantee, privilege_type
    FROM pg_catalog.pg_namespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(nspacl, pg_catalog.acldefault('n', nspowner)))
    WHERE privilege_type = 'USAGE'
) AS object (kind, space, name, grantee, privilege_type)
CROSS JOIN LATERAL (SELECT CASE grantee WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(grantee)::text END) AS _ (role)
WHERE space !~ '^pg_' AND space NOT IN ('information_schema', 'shardwright')
GROUP BY kind, space, name, role
ORDER BY role, kind, space, name

-- name: lacking
-- Of what is wanted, what is not so here; of objects that are not here, nothing.
SELECT kind, space, name, role, is_there, array_agg(privilege ORDER BY privilege)
FROM jsonb_to_recordset(%(wanted)s::jsonb) AS wanted (kind text, space text, name text, role text, privilege text)
CROSS JOIN LATERAL (
    SELECT role = 'public' OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role),
           CASE kind WHEN 'SCHEMA' THEN pg_catalog.to_regnamespace(pg_catalog.quote_ident(space))::oid
                     ELSE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', space, name))::oid END
) AS _ (is_there, object)
WHERE object IS NOT NULL AND CASE
    WHEN NOT is_there THEN true
    WHEN kind = 'SCHEMA' THEN NOT pg_catalog.has_schema_privilege(role::name, object, privilege)
    WHEN kind = 'SEQUENCE' THEN NOT pg_catalog.has_sequence_privilege(role::name, object, privilege)
    ELSE NOT pg_catalog.has_table_privilege(role::name, object, privilege) END
GROUP BY kind, space, name, role, is_there
ORDER BY role, kind, space, name
