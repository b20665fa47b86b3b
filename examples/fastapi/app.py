"""Tasks over HTTP with FastAPI: each request's session is on the shard of its organization."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from shardwright import AsyncTenants
from shardwright.errors import NoSuchTenant, TenantIsMoving
from tasks_app.models import Organization, Project, Task


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncTenants.from_config() as app.state.tenants:
        yield


def the_tenants(request: Request) -> AsyncTenants:
    return request.app.state.tenants  # type: ignore[no-any-return]  # state holds anything


Tenants = Annotated[AsyncTenants, Depends(the_tenants)]
OrganizationId = Annotated[uuid.UUID, Header(alias="X-Organization")]  # yours comes from a login, perhaps


async def the_session(tenants: Tenants, organization: OrganizationId) -> AsyncIterator[AsyncSession]:
    async with tenants.session(organization) as session:
        yield session


Session = Annotated[AsyncSession, Depends(the_session)]
app = FastAPI(lifespan=lifespan)


# --- from here on as it would be on one database ----------------------------------------------


@app.get("/tasks")
async def list_tasks(session: Session, organization: OrganizationId) -> list[str]:
    mine = select(Task.title).where(Task.organization_id == organization)
    return list(await session.scalars(mine.order_by(Task.title)))


@app.post("/tasks", status_code=201)
async def add_task(
    tenants: Tenants, organization: OrganizationId, title: Annotated[str, Body(embed=True)]
) -> dict[str, uuid.UUID]:
    return {"id": await tenants.run(organization, write_task, organization, title)}


@app.post("/organizations", status_code=201)
async def sign_up(tenants: Tenants, name: Annotated[str, Body(embed=True)]) -> dict[str, uuid.UUID]:
    new = uuid.uuid4()
    await tenants.place(new)
    await tenants.run(new, write_organization, new, name)
    return {"id": new}


@app.exception_handler(NoSuchTenant)
async def no_such_tenant(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=404)


@app.exception_handler(TenantIsMoving)
async def tenant_is_moving(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=503, headers={"Retry-After": "5"})


async def write_organization(session: AsyncSession, new: uuid.UUID, name: str) -> None:
    session.add(Organization(id=new, name=name, slug=str(new)))
    await session.flush()
    session.add(Project(organization_id=new, name="Inbox"))


async def write_task(session: AsyncSession, organization: uuid.UUID, title: str) -> uuid.UUID:
    inbox = (await session.scalars(select(Project).where(Project.organization_id == organization))).first()
    task = Task(project=inbox, title=title)
    session.add(task)
    await session.flush()
    return task.id
