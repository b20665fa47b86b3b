"""A production fleet's project that is small and has a bit of everything, for tests of the kit."""

from __future__ import annotations

from pathlib import Path

from kit import STOCK_ENV

SCHEMA = """
CREATE TABLE plan (code text PRIMARY KEY, price integer DEFAULT 1, gross integer GENERATED ALWAYS AS (price) STORED);
INSERT INTO plan (code, price) VALUES ('free', 0), ('paid', 10);
CREATE TABLE org (id uuid PRIMARY KEY, plan text REFERENCES plan, name text);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE note (id bigserial PRIMARY KEY, body text);
CREATE TABLE task (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text, mood mood,
                   org_id uuid NOT NULL REFERENCES org);
CREATE TABLE event (org_id uuid NOT NULL REFERENCES org, at integer, PRIMARY KEY (org_id, at)) PARTITION BY RANGE (at);
CREATE TABLE event_early PARTITION OF event FOR VALUES FROM (0) TO (50);
CREATE SEQUENCE ticket;
SELECT nextval('ticket');
"""
FILE = """
[fleet]
control = "${{CONTROL_URL_OF_PRODUCTION}}"
migrations = "history"
{more}
[shards.shard_0]
url = "${{SHARD_0_OF_PRODUCTION}}"
labels = {{ region = "eu" }}
[shards.shard_1]
url = "${{SHARD_1_OF_PRODUCTION}}"
[alerts]
webhook = "${{WEBHOOK_OF_PRODUCTION}}"
[tenants]
root = "org"
key = "org_id"
shared = ["plan"]
ignored = ["note"]
"""
REVISION = '''
from alembic import op

revision, down_revision = "r1", None


def upgrade():
    op.execute("""{schema}""")


def downgrade():
    pass
'''


def write_project(folder: Path, more: str = "") -> Path:
    """A production fleet's file, with nothing in the environment that it asks for."""
    (folder / "history" / "versions").mkdir(parents=True)
    (folder / "history" / "env.py").write_text(STOCK_ENV)
    (folder / "history" / "versions" / "r1.py").write_text(REVISION.format(schema=SCHEMA))
    (folder / "shardwright.toml").write_text(FILE.format(more=more))
    return folder / "shardwright.toml"
