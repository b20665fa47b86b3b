-- name: create
INSERT INTO shardwright.rebalance (run, shard_set, emptied) VALUES (%(run)s, %(shard_set)s, %(emptied)s)

-- name: rebalance
SELECT run, phase, emptied FROM shardwright.rebalance WHERE run = %(run)s AND shard_set = %(shard_set)s

-- name: last
SELECT run, phase, emptied
FROM shardwright.rebalance
WHERE shard_set = %(shard_set)s
ORDER BY phase IN ('done', 'undone'), run DESC
LIMIT 1

-- name: lines
SELECT number, round, tenant, source, target, epoch, bytes, rows, writes, load, why, state, run, note
FROM shardwright.rebalance_move
WHERE rebalance = %(run)s
ORDER BY number

-- name: phase
-- Guarded by the phases that it may follow.
UPDATE shardwright.rebalance SET phase = %(phase)s WHERE run = %(run)s AND phase = ANY (%(before)s) RETURNING phase

-- name: last_numbers
SELECT coalesce(max(number), 0), coalesce(max(round), 0) FROM shardwright.rebalance_move WHERE rebalance = %(run)s

-- name: begin
-- Not once an operator has stopped it.
UPDATE shardwright.rebalance_move
SET run = %(move)s, state = 'begun'
WHERE rebalance = %(run)s AND number = %(number)s AND state = 'planned'
  AND EXISTS (SELECT FROM shardwright.rebalance AS mine WHERE mine.run = %(run)s AND mine.phase = 'moving')
RETURNING number

-- name: note
UPDATE shardwright.rebalance_move
SET state = %(state)s, note = %(note)s
WHERE rebalance = %(run)s AND number = %(number)s

-- name: drop
UPDATE shardwright.rebalance_move
SET state = 'dropped', note = %(note)s
WHERE rebalance = %(run)s AND state = 'planned'
