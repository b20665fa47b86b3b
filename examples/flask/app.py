"""Tasks over HTTP with Flask: each request's session is on the shard of its organization."""

import uuid
from contextlib import ExitStack

from flask import Flask, g, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from shardwright import Tenants
from shardwright.errors import NoSuchTenant, TenantIsMoving
from tasks_app.models import Organization, Project, Task

app = Flask(__name__)
tenants = Tenants.from_config()


def session() -> Session:
    """The session of this request, opened when it is first asked for."""
    if "session" not in g:
        g.session = g.setdefault("exits", ExitStack()).enter_context(tenants.session(organization()))
    return g.session  # type: ignore[no-any-return]  # g holds anything


@app.teardown_request
def close_session(_: BaseException | None) -> None:
    g.pop("exits", ExitStack()).close()


# --- from here on as it would be on one database ----------------------------------------------


def organization() -> uuid.UUID:
    """Whose request it is; yours will read it from a login, perhaps."""
    return uuid.UUID(request.headers["X-Organization"])


@app.get("/tasks")
def list_tasks() -> list[str]:
    mine = select(Task.title).where(Task.organization_id == organization())
    return list(session().scalars(mine.order_by(Task.title)))


@app.post("/tasks")
def add_task() -> tuple[dict[str, str], int]:
    return {"id": str(tenants.run(organization(), write_task, organization(), request.get_json()["title"]))}, 201


@app.post("/organizations")
def sign_up() -> tuple[dict[str, str], int]:
    new = uuid.uuid4()
    tenants.place(new)
    tenants.run(new, write_organization, new, request.get_json()["name"])
    return {"id": str(new)}, 201


@app.errorhandler(NoSuchTenant)
def no_such_tenant(error: NoSuchTenant) -> tuple[dict[str, str], int]:
    return {"error": str(error)}, 404


@app.errorhandler(TenantIsMoving)
def tenant_is_moving(error: TenantIsMoving) -> tuple[dict[str, str], int, dict[str, str]]:
    return {"error": str(error)}, 503, {"Retry-After": "5"}


def write_organization(session: Session, new: uuid.UUID, name: str) -> None:
    session.add(Organization(id=new, name=name, slug=str(new)))
    session.flush()
    session.add(Project(organization_id=new, name="Inbox"))


def write_task(session: Session, organization: uuid.UUID, title: str) -> uuid.UUID:
    inbox = session.scalars(select(Project).where(Project.organization_id == organization)).first()
    task = Task(project=inbox, title=title)
    session.add(task)
    session.flush()
    return task.id
