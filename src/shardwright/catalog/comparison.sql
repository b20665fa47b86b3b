-- name: set_up
-- What is laid down comes as the bytes of the shards' COPY.
SELECT pg_catalog.set_config('statement_timeout', %(limit)s, false),
       pg_catalog.set_config('client_encoding', 'UTF8', false)

-- name: make_tables
CREATE TEMPORARY TABLE directory (tenant text COLLATE "C" NOT NULL, shard text NOT NULL, epoch bigint NOT NULL);
CREATE TEMPORARY TABLE found (shard text NOT NULL, tenant text COLLATE "C" NOT NULL);
CREATE TEMPORARY TABLE difference (
    kind   text NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    found  text,
    placed text,
    epoch  bigint
)

-- name: load_found
COPY pg_temp.found (shard, tenant) FROM STDIN

-- name: drop_unread
-- What a shard said before it fell silent is only a part of what it has.
DELETE FROM pg_temp.found WHERE shard = ANY (%(unread)s)

-- name: leave_out_found
DELETE FROM pg_temp.found WHERE tenant = ANY (%(tenants)s)

-- name: leave_out_placed
DELETE FROM pg_temp.directory WHERE tenant = ANY (%(tenants)s)

-- name: analyze
ANALYZE pg_temp.directory, pg_temp.found

-- name: compare
-- A shard that was not read may hold any tenant: of whom it could change the answer, nothing is concluded.
INSERT INTO pg_temp.difference (kind, tenant, found, placed, epoch)
SELECT CASE
           WHEN here.times > 1 THEN 'twice'
           WHEN directory.tenant IS NULL AND octet_length(here.tenant) > %(longest)s THEN 'too_long'
           WHEN directory.tenant IS NULL THEN 'unplaced'
           WHEN here.tenant IS NULL AND directory.shard = ANY (%(unread)s) THEN 'unread'
           WHEN here.tenant IS NULL AND cardinality(%(unread)s) > 0 THEN 'undecided'
           WHEN here.tenant IS NULL THEN 'missing'
           WHEN directory.shard = ANY (%(unread)s) THEN 'undecided'
           ELSE 'elsewhere'
       END,
       coalesce(here.tenant, directory.tenant), here.shard, directory.shard, directory.epoch
FROM (SELECT tenant, min(shard) AS shard, count(*) AS times FROM pg_temp.found GROUP BY tenant) AS here
FULL JOIN pg_temp.directory ON directory.tenant = here.tenant
WHERE here.shard IS DISTINCT FROM directory.shard OR here.times > 1

-- name: counts
SELECT kind, count(*) FROM pg_temp.difference GROUP BY kind

-- name: agreeing
SELECT (SELECT count(*) FROM pg_temp.directory) - (SELECT count(placed) FROM pg_temp.difference)

-- name: examples
SELECT example.kind, example.tenant, example.placed,
       array_remove(array_agg(found.shard ORDER BY found.shard COLLATE "C"), NULL)
FROM (SELECT DISTINCT kind FROM pg_temp.difference WHERE kind <> 'unread') AS present
CROSS JOIN LATERAL (SELECT kind, tenant, placed FROM pg_temp.difference
                    WHERE difference.kind = present.kind
                    ORDER BY tenant
                    LIMIT %(limit)s) AS example
LEFT JOIN pg_temp.found ON found.tenant = example.tenant
GROUP BY example.kind, example.tenant, example.placed
ORDER BY example.kind, example.tenant
