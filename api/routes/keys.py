"""`/v1/admin/keys` and `/v1/admin/audit`: manage API keys and read the audit log. Requires the scope `admin`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api.deps import AuthenticatorDep
from api.errors import ErrorResponse
from api.openapi import operation_id
from hunyuanocr.errors import NotFound
from hunyuanocr.services.api_keys import DEFAULT_SCOPES, Scope, create_api_key
from hunyuanocr.store import audit
from hunyuanocr.store import keys as store
from hunyuanocr.store.keys import ApiKeyRow

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    403: {"model": ErrorResponse, "description": "The scope `admin` is required."},
    404: {"model": ErrorResponse, "description": "API key not found."},
    422: {"model": ErrorResponse, "description": "Invalid parameter."},
    503: {"model": ErrorResponse, "description": "Database unavailable. Retry after `Retry-After` seconds."},
}
router = APIRouter(prefix="/v1/admin", tags=["admin"], responses=ERROR_RESPONSES, generate_unique_id_function=operation_id)

Id = Annotated[str, Path(max_length=64, pattern=r"^[0-9a-f]+$")]


class CreateKeyRequest(BaseModel):
    """A new API key for one device or program."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100, examples=["kiosk-1"], description="Name of the device or program that uses the key.")
    owner: str | None = Field(
        None,
        max_length=100,
        examples=["local"],
        description="Owner of the records that the key can access; keys of one owner share them. Default: `name`.",
    )
    scopes: list[Scope] = Field(sorted(DEFAULT_SCOPES), min_length=1, max_length=3, description="`admin` includes the others.")
    days: float | None = Field(None, gt=0, le=36500, description="Lifetime in days. Default: valid until revoked.")


class ApiKey(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    owner: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    seen_at: datetime | None = Field(description="Time of the last use, to the minute.")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKeyRow) -> ApiKey:
        """Convert a key of the store."""
        return cls(**{name: getattr(key, name) for name in ApiKey.model_fields})


class CreatedApiKey(ApiKey):
    """A new API key with its secret."""

    key: str = Field(description="The secret. It is not stored and cannot be shown again.")


class ApiKeyList(BaseModel):
    """All API keys, newest first, including revoked ones."""

    data: list[ApiKey]


class AuditEntry(BaseModel):
    """One entry of the audit log."""

    id: str
    at: datetime
    owner: str = Field(description="Owner of the data; empty if the client was not authenticated.")
    who: str = Field(description="Name of the key, token or device.")
    address: str = Field(description="Client address.")
    action: str = Field(
        description="`read`, `create`, `delete`, `export`, `send`, `connect`, `login`, `logout`, `admin` or `refused`."
    )
    what: str = Field(description="Path of the resource.")
    status: int = Field(description="HTTP status code.")
    times: int = Field(description="Number of identical events within a second.")
    request_id: str


class AuditPage(BaseModel):
    """One page of the audit log, newest first."""

    data: list[AuditEntry]
    next: str | None = Field(description="Value of `before` for the next page; null on the last page.")


@router.get("/keys", summary="List API keys")
async def list_keys(authenticator: AuthenticatorDep) -> ApiKeyList:
    """Return all API keys, including revoked ones, which the audit log may refer to."""
    return ApiKeyList(data=[ApiKey.of(key) for key in await authenticator.database.read(store.list_all)])


@router.post("/keys", status_code=201, summary="Create an API key")
async def create_key(request: Request, key_request: CreateKeyRequest, authenticator: AuthenticatorDep) -> CreatedApiKey:
    """The first API key switches authentication on: from then on, every client needs a key."""
    expires_at = None if key_request.days is None else authenticator.clock.now() + timedelta(days=key_request.days)
    secret, key = create_api_key(
        key_request.name, key_request.owner or key_request.name, key_request.scopes, expires_at=expires_at
    )
    await authenticator.database.write(store.insert, key)
    authenticator.api_keys.invalidate()
    request.state.created_resource = f"/v1/admin/keys/{key.id}"  # for the audit log
    return CreatedApiKey(**ApiKey.of(key).model_dump(), key=secret)


@router.delete("/keys/{id}", status_code=204, summary="Revoke an API key")
async def revoke_key(id: Id, authenticator: AuthenticatorDep) -> None:
    """Revoke the key permanently. It stops working within a second."""
    if not await authenticator.database.write(store.revoke, id, authenticator.clock.now()):
        raise NotFound("No active API key with this id.")
    authenticator.api_keys.invalidate()


@router.get("/audit", summary="Read the audit log")
async def list_audit(
    authenticator: AuthenticatorDep,
    *,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of entries on a page.")] = 100,
    owner: Annotated[str | None, Query(max_length=200, description="Only entries of this owner.")] = None,
    action: Annotated[str | None, Query(max_length=20, description="Only entries with this action.")] = None,
    what: Annotated[str | None, Query(max_length=200, description="End of the resource path, for example a record id.")] = None,
    before: Annotated[
        str | None, Query(max_length=64, pattern=r"^[0-9a-f]+$", description="`next` of the previous page.")
    ] = None,
) -> AuditPage:
    """Return names, client addresses and ids. The audit log never contains recognised text."""
    await authenticator.audit_log.flush()
    filters = {name: value for name, value in (("owner", owner), ("action", action), ("what", what)) if value}
    entries = await authenticator.database.read(audit.list_latest, limit, before=before, **filters)
    next_page = entries[-1].id if len(entries) == limit else None
    return AuditPage(data=[AuditEntry(**vars(entry)) for entry in entries], next=next_page)
