-- name: firing
SELECT rule, subject, severity, fact, cure, since, resolved_at
FROM shardwright.alert
WHERE shard_set = %(shard_set)s AND resolved_at IS NULL
ORDER BY since, id

-- name: over
-- Of the last five hundred alone: what is asked with every picture must not grow with the years.
SELECT rule, subject, severity, fact, cure, since, resolved_at
FROM (SELECT * FROM shardwright.alert WHERE shard_set = %(shard_set)s ORDER BY id DESC LIMIT 500) AS latest
WHERE resolved_at > clock_timestamp() - interval '7 days'
ORDER BY resolved_at DESC, id DESC
LIMIT 50

-- name: begin
-- Of several processes that see the same, one has its line in.
INSERT INTO shardwright.alert (shard_set, rule, subject, severity, fact, cure, since, told)
VALUES (%(shard_set)s, %(rule)s, %(subject)s, %(severity)s, %(fact)s, %(cure)s, %(since)s, %(told)s)
ON CONFLICT DO NOTHING

-- name: resolve
UPDATE shardwright.alert
SET resolved_at = %(resolved_at)s, told = told || %(told)s::jsonb, tries = 0, next_try_at = clock_timestamp()
WHERE shard_set = %(shard_set)s AND rule = %(rule)s AND md5(subject) = md5(%(subject)s) AND subject = %(subject)s
  AND resolved_at IS NULL

-- name: claim
-- Those that a receiver has not heard of as they stand, for nobody else until the lease is over. What is long over is let
-- be: a receiver that is new today need not hear of last year.
UPDATE shardwright.alert AS claimed
SET tries = claimed.tries + 1,
    next_try_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM (
    SELECT id
    FROM shardwright.alert
    WHERE shard_set = %(shard_set)s
      AND (resolved_at IS NULL OR resolved_at > clock_timestamp() - interval '1 day')
      AND next_try_at <= clock_timestamp()
      AND EXISTS (SELECT FROM unnest(%(receivers)s::text[]) AS receiver
                  WHERE told ->> receiver IS DISTINCT FROM
                        CASE WHEN resolved_at IS NULL THEN 'firing' ELSE 'resolved' END)
    ORDER BY id
    LIMIT 200
    FOR UPDATE SKIP LOCKED
) AS due
WHERE claimed.id = due.id
RETURNING claimed.id, claimed.told, claimed.rule, claimed.subject, claimed.severity, claimed.fact, claimed.cure,
          claimed.since, claimed.resolved_at

-- name: owed
SELECT EXISTS (
    SELECT
    FROM shardwright.alert
    WHERE shard_set = %(shard_set)s
      AND (resolved_at IS NULL OR resolved_at > clock_timestamp() - interval '1 day')
      AND EXISTS (SELECT FROM unnest(%(receivers)s::text[]) AS receiver
                  WHERE told ->> receiver IS DISTINCT FROM
                        CASE WHEN resolved_at IS NULL THEN 'firing' ELSE 'resolved' END))

-- name: told
UPDATE shardwright.alert
SET told = told || %(told)s::jsonb, tries = 0, next_try_at = clock_timestamp()
WHERE id = ANY (%(ids)s::bigint[])

-- name: failed
-- Again after 1, 2, 4 … 256 seconds.
UPDATE shardwright.alert
SET next_try_at = clock_timestamp() + make_interval(secs => 2.0 ^ least(greatest(tries, 1) - 1, 8))
WHERE id = ANY (%(ids)s::bigint[])
