-- name: fingerprint
-- What the schema of this database is: one row (kind, name, definition) for each object.
-- fingerprint.py says what is left out, and fixes the settings this text depends on: names are printed in
-- full because search_path is only pg_catalog. Lists are sorted in collation "C", since the database's own
-- collation may differ from shard to shard. No OID may reach the result.
WITH space AS MATERIALIZED (
    SELECT oid, nspname
    FROM pg_namespace
    WHERE NOT starts_with(nspname, 'pg_') AND nspname NOT IN ('information_schema', 'shardwright')
),
member AS MATERIALIZED (
    SELECT classid, objid
    FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
),
relation AS MATERIALIZED (
    SELECT
        c.oid, c.relkind, c.relpersistence, c.relispartition, c.relpartbound, c.reloftype, c.relam,
        c.reloptions, c.reltoastrelid, c.relrowsecurity, c.relforcerowsecurity, c.relreplident,
        s.nspname, format('%I.%I', s.nspname, c.relname) AS name
    FROM pg_class AS c
    JOIN space AS s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'c')
        AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
),
type AS MATERIALIZED (
    SELECT
        t.oid, t.typtype, t.typrelid, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefaultbin,
        t.typcollation, format('%I.%I', s.nspname, t.typname) AS name
    FROM pg_type AS t
    JOIN space AS s ON s.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd', 'c', 'r')
        AND t.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_type'::regclass)
),
parentage AS MATERIALIZED (
    SELECT oid, string_agg(parent, ', ' ORDER BY parent COLLATE "C") AS parents
    FROM (
        SELECT
            inhrelid AS oid,
            inhparent::regclass || CASE WHEN inhdetachpending THEN ' DETACH PENDING' ELSE '' END AS parent
        FROM pg_inherits
    ) AS i
    GROUP BY oid
),
index AS MATERIALIZED (
    SELECT
        i.indexrelid AS oid,
        c.reloptions,
        format('%I.%I', r.nspname, c.relname) AS name,
        concat_ws(
            ' ',
            CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
            CASE WHEN NOT i.indisready THEN 'NOT READY' END,
            CASE WHEN i.indisclustered THEN 'CLUSTER' END,
            CASE WHEN i.indisreplident THEN 'REPLICA IDENTITY' END,
            'PARTITION OF ' || o.parents,
            CASE WHEN i.indexprs IS NOT NULL THEN (
                SELECT 'STATISTICS ' || string_agg(attnum || '=' || attstattarget, ', ' ORDER BY attnum)
                FROM pg_attribute
                WHERE attrelid = i.indexrelid AND attnum > 0 AND attstattarget <> -1
            ) END
        ) AS state
    FROM relation AS r
    JOIN pg_index AS i ON i.indrelid = r.oid
    JOIN pg_class AS c ON c.oid = i.indexrelid
    LEFT JOIN parentage AS o ON o.oid = i.indexrelid
),
-- PostgreSQL 18 keeps NOT NULL as a constraint too, 15 to 17 do not: the column says it, the constraint
-- adds only what is unusual about it.
weak_not_null AS MATERIALIZED (
    SELECT conrelid, conkey[1] AS attnum, convalidated, connoinherit
    FROM pg_constraint
    WHERE contype = 'n' AND conrelid <> 0 AND (connoinherit OR NOT convalidated)
),

schemas AS (
    SELECT 'schema' AS kind, format('%I', nspname) AS name, '' AS definition
    FROM space
    WHERE oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_namespace'::regclass)
),
extensions AS (
    SELECT
        'extension',
        format('%I', extname),
        format('VERSION %L SCHEMA %s', extversion, extnamespace::regnamespace)
    FROM pg_extension
),
relations AS (
    SELECT
        CASE r.relkind
            WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table'
        END,
        r.name,
        concat_ws(
            ' ',
            CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED' END,
            CASE WHEN r.relkind IN ('r', 'p') THEN 'TABLE' END,
            'OF ' || nullif(r.reloftype, 0)::regtype::text,
            'PARTITION BY ' || pg_get_partkeydef(r.oid),
            CASE WHEN r.relispartition THEN 'PARTITION OF ' ELSE 'INHERITS ' END || o.parents,
            pg_get_expr(r.relpartbound, r.oid),
            'USING ' || nullif(am.amname, 'heap'),
            'SERVER ' || quote_ident(fs.srvname),
            CASE WHEN ft.ftoptions IS NOT NULL THEN (
                SELECT format('OPTIONS (%s)', string_agg(x, ', ' ORDER BY x COLLATE "C"))
                FROM unnest(ft.ftoptions) AS x
            ) END,
            CASE WHEN r.reloptions IS NOT NULL THEN (
                SELECT format('WITH (%s)', string_agg(x, ', ' ORDER BY x COLLATE "C"))
                FROM unnest(r.reloptions) AS x
            ) END,
            CASE WHEN toast.reloptions IS NOT NULL THEN (
                SELECT format('TOAST (%s)', string_agg(x, ', ' ORDER BY x COLLATE "C"))
                FROM unnest(toast.reloptions) AS x
            ) END,
            CASE WHEN r.relrowsecurity THEN 'ROW LEVEL SECURITY' END,
            CASE WHEN r.relforcerowsecurity THEN 'FORCE ROW LEVEL SECURITY' END,
            CASE WHEN r.relkind IN ('r', 'p', 'm') THEN
                CASE r.relreplident
                    WHEN 'n' THEN 'REPLICA IDENTITY NOTHING'
                    WHEN 'f' THEN 'REPLICA IDENTITY FULL'
                    WHEN 'i' THEN 'REPLICA IDENTITY INDEX'
                END
            END,
            CASE WHEN r.relkind IN ('v', 'm') THEN 'AS' || pg_get_viewdef(r.oid) END
        )
    FROM relation AS r
    LEFT JOIN parentage AS o ON o.oid = r.oid
    LEFT JOIN pg_am AS am ON am.oid = r.relam
    LEFT JOIN pg_class AS toast ON toast.oid = r.reltoastrelid
    LEFT JOIN pg_foreign_table AS ft ON ft.ftrelid = r.oid
    LEFT JOIN pg_foreign_server AS fs ON fs.oid = ft.ftserver
    WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm')
),
columns AS (
    SELECT
        'column',
        format('%s.%I', r.name, a.attname),
        concat_ws(
            ' ',
            format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attcollation <> t.typcollation THEN
                'COLLATE ' || a.attcollation::regcollation::text
            END,
            CASE WHEN a.attnotnull THEN 'NOT NULL' END,
            CASE WHEN w.connoinherit THEN 'NO INHERIT' END,
            CASE WHEN NOT w.convalidated THEN 'NOT VALID' END,
            CASE a.attidentity
                WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
                WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY'
            END,
            CASE a.attgenerated
                WHEN '' THEN 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
                ELSE format(
                    'GENERATED ALWAYS AS (%s) %s',
                    pg_get_expr(d.adbin, d.adrelid),
                    CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END
                )
            END,
            CASE WHEN a.attstorage <> t.typstorage THEN
                CASE a.attstorage
                    WHEN 'p' THEN 'STORAGE PLAIN' WHEN 'e' THEN 'STORAGE EXTERNAL'
                    WHEN 'm' THEN 'STORAGE MAIN' ELSE 'STORAGE EXTENDED'
                END
            END,
            CASE a.attcompression WHEN 'p' THEN 'COMPRESSION pglz' WHEN 'l' THEN 'COMPRESSION lz4' END,
            -- "Default" is -1 up to PostgreSQL 16, NULL from 17 on.
            'STATISTICS ' || nullif(a.attstattarget, -1),
            CASE WHEN a.attoptions IS NOT NULL THEN (
                SELECT format('WITH (%s)', string_agg(o, ', ' ORDER BY o COLLATE "C"))
                FROM unnest(a.attoptions) AS o
            ) END,
            CASE WHEN a.attfdwoptions IS NOT NULL THEN (
                SELECT format('OPTIONS (%s)', string_agg(o, ', ' ORDER BY o COLLATE "C"))
                FROM unnest(a.attfdwoptions) AS o
            ) END
        )
    FROM relation AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN weak_not_null AS w ON w.conrelid = a.attrelid AND w.attnum = a.attnum
    WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm')
),
table_constraints AS (
    SELECT
        'constraint',
        format('%s.%I', r.name, c.conname),
        concat_ws(
            ' ',
            pg_get_constraintdef(c.oid),
            CASE WHEN i.reloptions IS NOT NULL THEN (
                SELECT format('WITH (%s)', string_agg(x, ', ' ORDER BY x COLLATE "C"))
                FROM unnest(i.reloptions) AS x
            ) END,
            nullif(i.state, '')
        )
    FROM relation AS r
    JOIN pg_constraint AS c ON c.conrelid = r.oid
    LEFT JOIN pg_constraint AS parent ON parent.oid = c.conparentid
    LEFT JOIN index AS i ON i.oid = c.conindid AND c.contype <> 'f'
    WHERE c.contype IN ('c', 'p', 'u', 'x', 'f')
        -- A foreign key to a partitioned table has a hidden copy for each partition it points to, whose
        -- name depends on the order in which the partitions came.
        AND (c.contype <> 'f' OR parent.oid IS NULL OR parent.confrelid = c.confrelid)
),
domain_constraints AS (
    SELECT 'constraint', format('%s.%I', t.name, c.conname), pg_get_constraintdef(c.oid)
    FROM type AS t
    JOIN pg_constraint AS c ON c.contypid = t.oid
    WHERE c.contype = 'c'
),
indexes AS (
    SELECT 'index', name, concat_ws(' ', pg_get_indexdef(oid), nullif(state, ''))
    FROM index
    -- The constraint says what its index is, and pg_get_indexdef is the dearest part of the whole query.
    WHERE oid NOT IN (SELECT conindid FROM pg_constraint WHERE contype IN ('p', 'u', 'x'))
),
triggers AS (
    SELECT
        'trigger',
        CASE
            -- The name of a foreign key's own trigger holds an OID.
            WHEN t.tgisinternal THEN format('%s.%I (%s)', r.name, c.conname, t.tgfoid::regproc)
            ELSE format('%s.%I', r.name, t.tgname)
        END,
        concat_ws(
            ' ',
            CASE WHEN t.tgisinternal THEN 'INTERNAL' ELSE pg_get_triggerdef(t.oid) END,
            CASE t.tgenabled
                WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
            END
        )
    FROM relation AS r
    JOIN pg_trigger AS t ON t.tgrelid = r.oid
    JOIN pg_proc AS f ON f.oid = t.tgfoid
    LEFT JOIN pg_constraint AS c ON c.oid = t.tgconstraint
    WHERE (NOT t.tgisinternal OR t.tgenabled <> 'O')
        AND f.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = 'shardwright')
),
event_triggers AS (
    SELECT
        'event trigger',
        format('%I', e.evtname),
        concat_ws(
            ' ',
            'ON ' || e.evtevent,
            'WHEN TAG IN (' || (
                SELECT string_agg(tag, ', ' ORDER BY tag COLLATE "C") FROM unnest(e.evttags) AS tag
            ) || ')',
            'EXECUTE FUNCTION ' || e.evtfoid::regproc::text,
            CASE e.evtenabled
                WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
            END
        )
    FROM pg_event_trigger AS e
    JOIN pg_proc AS f ON f.oid = e.evtfoid
    WHERE e.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_event_trigger'::regclass)
        AND f.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = 'shardwright')
),
rules AS (
    SELECT
        'rule',
        format('%s.%I', r.name, w.rulename),
        concat_ws(
            ' ',
            pg_get_ruledef(w.oid),
            CASE w.ev_enabled
                WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
            END
        )
    FROM relation AS r
    JOIN pg_rewrite AS w ON w.ev_class = r.oid
    WHERE w.rulename <> '_RETURN'
),
policies AS (
    SELECT
        'policy',
        format('%s.%I', r.name, p.polname),
        concat_ws(
            ' ',
            CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE p.polcmd
                WHEN 'r' THEN 'FOR SELECT' WHEN 'a' THEN 'FOR INSERT' WHEN 'w' THEN 'FOR UPDATE'
                WHEN 'd' THEN 'FOR DELETE' ELSE 'FOR ALL'
            END,
            'TO ' || (
                SELECT string_agg(role, ', ' ORDER BY role COLLATE "C")
                FROM (
                    SELECT CASE oid WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(oid)) END AS role
                    FROM unnest(p.polroles) AS oid
                ) AS roles
            ),
            'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
            'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
        )
    FROM relation AS r
    JOIN pg_policy AS p ON p.polrelid = r.oid
),
sequences AS (
    SELECT
        'sequence',
        r.name,
        concat_ws(
            ' ',
            CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED' END,
            'AS ' || format_type(s.seqtypid, NULL),
            CASE WHEN s.seqcycle THEN 'CYCLE' END,
            'OWNED BY ' || (
                SELECT format('%s.%I', a.attrelid::regclass, a.attname)
                FROM pg_depend AS d
                JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.objsubid = 0
                    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
            )
        )
    FROM relation AS r
    JOIN pg_sequence AS s ON s.seqrelid = r.oid
),
statistics AS (
    SELECT
        'statistics',
        format('%s.%I', e.stxnamespace::regnamespace, e.stxname),
        -- Not pg_get_statisticsobjdef, which prints the columns in the order of the table.
        concat_ws(
            ' ',
            (
                SELECT format('(%s)', string_agg(word, ', ' ORDER BY word COLLATE "C"))
                FROM unnest(e.stxkind) AS kind
                JOIN (VALUES ('d', 'ndistinct'), ('f', 'dependencies'), ('m', 'mcv')) AS words (letter, word)
                    ON letter = kind
            ),
            'ON',
            (
                SELECT string_agg(part, ', ' ORDER BY part COLLATE "C")
                FROM (
                    SELECT quote_ident(attname)
                    FROM unnest(e.stxkeys) AS key
                    JOIN pg_attribute ON attrelid = e.stxrelid AND attnum = key
                    UNION ALL
                    SELECT format('(%s)', expression)
                    FROM unnest(pg_get_statisticsobjdef_expressions(e.oid)) AS expression
                ) AS parts (part)
            ),
            'FROM ' || r.name,
            'STATISTICS ' || nullif(e.stxstattarget, -1)
        )
    FROM relation AS r
    JOIN pg_statistic_ext AS e ON e.stxrelid = r.oid
),
types AS (
    SELECT
        'type',
        t.name,
        CASE t.typtype
            WHEN 'e' THEN (
                SELECT format('ENUM (%s)', string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder))
                FROM pg_enum WHERE enumtypid = t.oid
            )
            WHEN 'd' THEN concat_ws(
                ' ',
                'DOMAIN AS ' || format_type(t.typbasetype, t.typtypmod),
                CASE WHEN t.typcollation <> base.typcollation THEN
                    'COLLATE ' || t.typcollation::regcollation::text
                END,
                CASE WHEN t.typnotnull THEN 'NOT NULL' END,
                'DEFAULT ' || pg_get_expr(t.typdefaultbin, 0)
            )
            WHEN 'r' THEN (
                SELECT format(
                    'RANGE (SUBTYPE %s, SUBTYPE_OPCLASS %s, COLLATION %s, CANONICAL %s,'
                    ' SUBTYPE_DIFF %s, MULTIRANGE %s)',
                    format_type(g.rngsubtype, NULL),
                    (pg_identify_object('pg_opclass'::regclass, g.rngsubopc, 0)).identity,
                    g.rngcollation::regcollation, g.rngcanonical, g.rngsubdiff,
                    format_type(g.rngmultitypid, NULL)
                )
                FROM pg_range AS g WHERE g.rngtypid = t.oid
            )
            -- The one place where the order of columns counts: ROW(a, b) goes by position.
            ELSE (
                SELECT format('COMPOSITE (%s)', string_agg(
                    concat_ws(
                        ' ',
                        format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)),
                        CASE WHEN a.attcollation <> at.typcollation THEN
                            'COLLATE ' || a.attcollation::regcollation::text
                        END
                    ),
                    ', ' ORDER BY a.attnum
                ))
                FROM pg_attribute AS a
                JOIN pg_type AS at ON at.oid = a.atttypid
                WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            )
        END
    FROM type AS t
    LEFT JOIN pg_type AS base ON base.oid = t.typbasetype
    WHERE t.typtype <> 'c' OR t.typrelid IN (SELECT oid FROM relation WHERE relkind = 'c')
),
functions AS (
    SELECT
        CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
        p.oid::regprocedure::text,
        CASE
            WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid)
            ELSE (
                SELECT concat_ws(
                    ' ',
                    format('(%s)', pg_get_function_arguments(p.oid)),
                    'RETURNS ' || pg_get_function_result(p.oid),
                    'STYPE ' || format_type(g.aggtranstype, NULL),
                    'MSTYPE ' || format_type(nullif(g.aggmtranstype, 0), NULL),
                    'SORTOP ' || nullif(g.aggsortop, 0)::regoperator::text,
                    format('PARALLEL %s', p.proparallel),
                    -- The rest of its row as JSON: no OIDs, but the names of functions.
                    jsonb_strip_nulls(
                        to_jsonb(g) - '{aggfnoid,aggtranstype,aggmtranstype,aggsortop}'::text[]
                    )
                )
                FROM pg_aggregate AS g WHERE g.aggfnoid = p.oid
            )
        END
    FROM pg_proc AS p
    JOIN space AS s ON s.oid = p.pronamespace
    WHERE p.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_proc'::regclass)
        AND NOT EXISTS (
            -- What a range type brings: its constructors, the cast to its multirange.
            SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'i'
        )
),
operators AS (
    SELECT
        'operator',
        o.oid::regoperator::text,
        concat_ws(
            ' ',
            'FUNCTION ' || o.oprcode::regprocedure::text,
            'RESTRICT ' || nullif(o.oprrest, 0)::regproc::text,
            'JOIN ' || nullif(o.oprjoin, 0)::regproc::text,
            'COMMUTATOR ' || nullif(o.oprcom, 0)::regoperator::text,
            'NEGATOR ' || nullif(o.oprnegate, 0)::regoperator::text,
            CASE WHEN o.oprcanhash THEN 'HASHES' END,
            CASE WHEN o.oprcanmerge THEN 'MERGES' END
        )
    FROM pg_operator AS o
    JOIN space AS s ON s.oid = o.oprnamespace
    WHERE o.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_operator'::regclass)
),
operator_families AS (
    SELECT
        'operator family',
        (pg_identify_object('pg_opfamily'::regclass, f.oid, 0)).identity,
        (
            SELECT string_agg(part, ', ' ORDER BY part COLLATE "C")
            FROM (
                SELECT concat_ws(
                    ' ',
                    format('OPERATOR %s', o.amopstrategy), o.amopopr::regoperator::text,
                    'FOR ORDER BY ' || (
                        pg_identify_object('pg_opfamily'::regclass, nullif(o.amopsortfamily, 0), 0)
                    ).identity
                )
                FROM pg_amop AS o WHERE o.amopfamily = f.oid
                UNION ALL
                SELECT format('FUNCTION %s %s', p.amprocnum, p.amproc::regprocedure)
                FROM pg_amproc AS p WHERE p.amprocfamily = f.oid
            ) AS parts (part)
        )
    FROM pg_opfamily AS f
    JOIN space AS s ON s.oid = f.opfnamespace
    WHERE f.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_opfamily'::regclass)
),
operator_classes AS (
    SELECT
        'operator class',
        (pg_identify_object('pg_opclass'::regclass, c.oid, 0)).identity,
        concat_ws(
            ' ',
            CASE WHEN c.opcdefault THEN 'DEFAULT' END,
            'FOR TYPE ' || format_type(c.opcintype, NULL),
            'FAMILY ' || (pg_identify_object('pg_opfamily'::regclass, c.opcfamily, 0)).identity,
            'STORAGE ' || format_type(nullif(c.opckeytype, 0), NULL)
        )
    FROM pg_opclass AS c
    JOIN space AS s ON s.oid = c.opcnamespace
    WHERE c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_opclass'::regclass)
),
casts AS (
    SELECT
        'cast',
        format('(%s AS %s)', format_type(castsource, NULL), format_type(casttarget, NULL)),
        concat_ws(
            ' ',
            CASE castmethod WHEN 'i' THEN 'WITH INOUT' WHEN 'b' THEN 'WITHOUT FUNCTION' END,
            'WITH FUNCTION ' || nullif(castfunc, 0)::regprocedure::text,
            CASE castcontext WHEN 'i' THEN 'AS IMPLICIT' WHEN 'a' THEN 'AS ASSIGNMENT' END
        )
    FROM pg_cast AS c
    WHERE c.oid >= 16384  -- casts live in no schema; below are PostgreSQL's own (FirstNormalObjectId)
        AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_cast'::regclass)
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_cast'::regclass AND objid = c.oid AND deptype = 'i'
        )
),
collations AS (
    SELECT
        'collation',
        c.oid::regcollation::text,
        -- As JSON, because the locale's column has another name from PostgreSQL 17 on. The version is left
        -- out: it is the operating system's.
        jsonb_strip_nulls(
            to_jsonb(c)
            - '{oid,collname,collnamespace,collowner,collversion,colliculocale,colllocale}'::text[]
            || jsonb_build_object(
                'locale', coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale')
            )
        )::text
    FROM pg_collation AS c
    JOIN space AS s ON s.oid = c.collnamespace
    WHERE c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_collation'::regclass)
),
text_search_configurations AS (
    SELECT
        'text search configuration',
        c.oid::regconfig::text,
        concat_ws(
            ' ',
            'PARSER ' || (pg_identify_object('pg_ts_parser'::regclass, c.cfgparser, 0)).identity,
            (
                SELECT string_agg(
                    format('%s: %s', k.alias, m.mapdict::regdictionary),
                    ', ' ORDER BY k.alias COLLATE "C", m.mapseqno
                )
                FROM pg_ts_config_map AS m
                JOIN ts_token_type(c.cfgparser) AS k ON k.tokid = m.maptokentype
                WHERE m.mapcfg = c.oid
            )
        )
    FROM pg_ts_config AS c
    JOIN space AS s ON s.oid = c.cfgnamespace
    WHERE c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_ts_config'::regclass)
),
text_search_dictionaries AS (
    SELECT
        'text search dictionary',
        d.oid::regdictionary::text,
        concat_ws(
            ' ',
            'TEMPLATE ' || (pg_identify_object('pg_ts_template'::regclass, d.dicttemplate, 0)).identity,
            d.dictinitoption
        )
    FROM pg_ts_dict AS d
    JOIN space AS s ON s.oid = d.dictnamespace
    WHERE d.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_ts_dict'::regclass)
),
foreign_data_wrappers AS (
    SELECT
        'foreign data wrapper',
        format('%I', fdwname),
        format('HANDLER %s VALIDATOR %s', fdwhandler::regproc, fdwvalidator::regproc)
    FROM pg_foreign_data_wrapper
    WHERE oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_foreign_data_wrapper'::regclass)
),
foreign_servers AS (
    SELECT
        'foreign server',
        format('%I', s.srvname),
        concat_ws(
            ' ',
            format('FOREIGN DATA WRAPPER %I', w.fdwname),
            'TYPE ' || s.srvtype,
            'VERSION ' || s.srvversion
        )
    FROM pg_foreign_server AS s
    JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
    WHERE s.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_foreign_server'::regclass)
)
SELECT kind, name, coalesce(definition, '')
FROM (
    SELECT * FROM schemas
    UNION ALL SELECT * FROM extensions
    UNION ALL SELECT * FROM relations
    UNION ALL SELECT * FROM columns
    UNION ALL SELECT * FROM table_constraints
    UNION ALL SELECT * FROM domain_constraints
    UNION ALL SELECT * FROM indexes
    UNION ALL SELECT * FROM triggers
    UNION ALL SELECT * FROM event_triggers
    UNION ALL SELECT * FROM rules
    UNION ALL SELECT * FROM policies
    UNION ALL SELECT * FROM sequences
    UNION ALL SELECT * FROM statistics
    UNION ALL SELECT * FROM types
    UNION ALL SELECT * FROM functions
    UNION ALL SELECT * FROM operators
    UNION ALL SELECT * FROM operator_families
    UNION ALL SELECT * FROM operator_classes
    UNION ALL SELECT * FROM casts
    UNION ALL SELECT * FROM collations
    UNION ALL SELECT * FROM text_search_configurations
    UNION ALL SELECT * FROM text_search_dictionaries
    UNION ALL SELECT * FROM foreign_data_wrappers
    UNION ALL SELECT * FROM foreign_servers
) AS object (kind, name, definition)

-- name: fix_settings
SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.jsonb_each_text(%s)
