-- The directory: which shard each tenant is on. The epoch grows by one at every change, also over a tenant that was
-- forgotten and comes back, so that whoever holds two answers knows which is the newer.
-- COLLATE "C": ids are compared byte by byte, and a search for their beginning can use the index.
CREATE TABLE shardwright.placement (
    shard_set  text NOT NULL,
    tenant     text COLLATE "C" NOT NULL CHECK (octet_length(tenant) <= 2000),
    shard      text NOT NULL,
    epoch      bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    run        bigint,
    PRIMARY KEY (shard_set, tenant)
);

CREATE INDEX placement_by_shard ON shardwright.placement (shard_set, shard, tenant);

-- What a placement was before it changed. Kept for ever.
CREATE TABLE shardwright.placement_history (
    shard_set  text NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    shard      text NOT NULL,
    epoch      bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    run        bigint,
    ended_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard_set, tenant, epoch)
);

-- Tells routers, at commit. Channel shardwright_placement, payload {"set", "tenant", "shard", "epoch"}; shard is null
-- where the tenant was forgotten. A message whose tenant is null stands for many changes, or for an id that is too long
-- for a message (8000 bytes): whatever was known of the set is to be asked again.
CREATE FUNCTION shardwright.tell_placement(the_set text, the_tenant text, the_shard text, the_epoch bigint)
RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('shardwright_placement', CASE WHEN octet_length(told.one) < 8000 THEN told.one ELSE told.many END)
    FROM (SELECT json_build_object('set', the_set, 'tenant', the_tenant, 'shard', the_shard, 'epoch', the_epoch)::text,
                 json_build_object('set', the_set, 'tenant', null::text, 'shard', null::text, 'epoch', null::bigint)::text)
         AS told (one, many)
$$;

-- The guards look at all rows of a statement at once: a million tenants are adopted by one INSERT.
CREATE FUNCTION shardwright.placement_added() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    are_few constant boolean := (SELECT count(*) <= 100 FROM added);
BEGIN
    IF EXISTS (SELECT FROM added
               WHERE epoch <> 1 + (SELECT coalesce(max(past.epoch), 0) FROM shardwright.placement_history AS past
                                   WHERE past.shard_set = added.shard_set AND past.tenant = added.tenant)) THEN
        RAISE EXCEPTION 'a placement begins with the epoch after its last one' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT shard_set, shard FROM added EXCEPT SELECT shard_set, name FROM shardwright.shard) THEN
        RAISE EXCEPTION 'a tenant is placed on a shard of its set' USING ERRCODE = 'foreign_key_violation';
    END IF;
    PERFORM shardwright.tell_placement(shard_set, tenant, shard, epoch)
    FROM (SELECT shard_set, tenant, shard, epoch FROM added WHERE are_few
          UNION SELECT shard_set, NULL, NULL, NULL FROM added WHERE NOT are_few) AS told;
    RETURN NULL;
END
$$;

CREATE FUNCTION shardwright.placement_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    are_few constant boolean := (SELECT count(*) <= 100 FROM present);
BEGIN
    IF EXISTS (SELECT shard_set, tenant, epoch FROM present EXCEPT SELECT shard_set, tenant, epoch + 1 FROM past) THEN
        RAISE EXCEPTION 'the epoch of a placement grows by one' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT shard_set, shard FROM present EXCEPT SELECT shard_set, name FROM shardwright.shard) THEN
        RAISE EXCEPTION 'a tenant is placed on a shard of its set' USING ERRCODE = 'foreign_key_violation';
    END IF;
    INSERT INTO shardwright.placement_history (shard_set, tenant, shard, epoch, changed_at, changed_by, run)
    SELECT shard_set, tenant, shard, epoch, changed_at, changed_by, run FROM past;
    PERFORM shardwright.tell_placement(shard_set, tenant, shard, epoch)
    FROM (SELECT shard_set, tenant, shard, epoch FROM present WHERE are_few
          UNION SELECT shard_set, NULL, NULL, NULL FROM present WHERE NOT are_few) AS told;
    RETURN NULL;
END
$$;

CREATE FUNCTION shardwright.placement_forgotten() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    are_few constant boolean := (SELECT count(*) <= 100 FROM past);
BEGIN
    INSERT INTO shardwright.placement_history (shard_set, tenant, shard, epoch, changed_at, changed_by, run)
    SELECT shard_set, tenant, shard, epoch, changed_at, changed_by, run FROM past;
    PERFORM shardwright.tell_placement(shard_set, tenant, NULL, epoch)
    FROM (SELECT shard_set, tenant, epoch FROM past WHERE are_few
          UNION SELECT shard_set, NULL, NULL FROM past WHERE NOT are_few) AS told;
    RETURN NULL;
END
$$;

CREATE TRIGGER added AFTER INSERT ON shardwright.placement
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION shardwright.placement_added();
CREATE TRIGGER changed AFTER UPDATE ON shardwright.placement
    REFERENCING OLD TABLE AS past NEW TABLE AS present FOR EACH STATEMENT EXECUTE FUNCTION shardwright.placement_changed();
CREATE TRIGGER forgotten AFTER DELETE ON shardwright.placement
    REFERENCING OLD TABLE AS past FOR EACH STATEMENT EXECUTE FUNCTION shardwright.placement_forgotten();
