-- Renderings that were proven, on scratch copies, to do what the revisions do online.
CREATE TABLE shardwright.proof (
    key     text PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT now()
);
