-- name: register
INSERT INTO shardwright.move (move, side, runner) VALUES (%(move)s, %(side)s, %(runner)s)
ON CONFLICT (move) DO NOTHING
RETURNING true
