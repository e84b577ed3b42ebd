"""`/v1/admin/keys` and `/v1/admin/audit`: who may use this machine, and who did what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api.auth.api_keys import create_api_key
from api.auth.identity import DEFAULT_SCOPES, Scope
from api.deps import AuthenticatorDep
from api.schemas.common import ErrorResponse
from hunyuanocr.errors import NotFound
from hunyuanocr.store import audit
from hunyuanocr.store import keys as store
from hunyuanocr.store.keys import ApiKeyRow

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    403: {"model": ErrorResponse, "description": "No key with the scope admin."},
    404: {"model": ErrorResponse, "description": "No such key."},
    422: {"model": ErrorResponse, "description": "A value that cannot be used."},
    503: {"model": ErrorResponse, "description": "The database does not answer; come back after `Retry-After` seconds."},
}
router = APIRouter(prefix="/v1/admin", tags=["admin"], responses=ERROR_RESPONSES)

Id = Annotated[str, Path(max_length=64, pattern=r"^[0-9a-f]+$")]


class CreateKeyRequest(BaseModel):
    """A key for one device or program."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100, examples=["kiosk-1"], description="Which device or program has it.")
    owner: str | None = Field(
        None, max_length=100, examples=["local"],
        description="Whose records it sees: keys of one owner share them. Left out: the name, and it sees its own alone.",
    )  # fmt: skip
    scopes: list[Scope] = Field(sorted(DEFAULT_SCOPES), min_length=1, max_length=3)
    days: float | None = Field(None, gt=0, le=36500, description="Days after which it ends; left out: when it is revoked.")


class ApiKey(BaseModel):
    """What is known of a key; the key itself is not."""

    id: str
    name: str
    owner: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    seen_at: datetime | None = Field(description="When it was used last, to the minute.")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKeyRow) -> ApiKey:
        """From the store's Key."""
        return cls(**{name: getattr(key, name) for name in ApiKey.model_fields})


class CreatedApiKey(ApiKey):
    """A key that was just made."""

    key: str = Field(description="Told now, and never again.")


class ApiKeyList(BaseModel):
    """All keys there ever were, the newest first."""

    data: list[ApiKey]


class AuditEntry(BaseModel):
    """Who did what, when."""

    id: str
    at: datetime
    owner: str = Field(description="Whose things; empty where nobody was known.")
    who: str
    address: str
    action: str = Field(description="read, create, delete, export, send, connect, login, logout, admin, or refused.")
    what: str
    status: int
    times: int = Field(description="So often within a second.")
    request_id: str


class AuditPage(BaseModel):
    """One page of the audit log, the newest first."""

    data: list[AuditEntry]
    next: str | None = Field(description="The `before` of the next page; null at the end.")


@router.get("/keys", summary="All keys")
async def list_keys(gate: AuthenticatorDep) -> ApiKeyList:
    """Revoked ones too: the audit log names them."""
    return ApiKeyList(data=[ApiKey.of(key) for key in await gate.database.read(store.list_all)])


@router.post("/keys", status_code=201, summary="Make a key")
async def create_key(request: Request, key_request: CreateKeyRequest, gate: AuthenticatorDep) -> CreatedApiKey:
    """The first key of a machine that asked nobody for one makes it ask everybody."""
    ends = None if key_request.days is None else gate.clock.now() + timedelta(days=key_request.days)
    text, key = create_api_key(key_request.name, key_request.owner or key_request.name, key_request.scopes, expires_at=ends)
    await gate.database.write(store.insert, key)
    gate.keyring.invalidate()
    request.state.made = f"/v1/admin/keys/{key.id}"  # for the audit log
    return CreatedApiKey(**ApiKey.of(key).model_dump(), key=text)


@router.delete("/keys/{id}", status_code=204, summary="Revoke a key")
async def revoke_key(id: Id, gate: AuthenticatorDep) -> None:
    """For good, and from the next second on."""
    if not await gate.database.write(store.revoke, id, gate.clock.now()):
        raise NotFound("There is no such key that still holds.")
    gate.keyring.invalidate()


@router.get("/audit", summary="Who did what")
async def list_audit(
    gate: AuthenticatorDep, *, limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    owner: Annotated[str | None, Query(max_length=200)] = None, action: Annotated[str | None, Query(max_length=20)] = None,
    what: Annotated[str | None, Query(max_length=200, description="The end of an address: a record's id.")] = None,
    before: Annotated[str | None, Query(max_length=64, pattern=r"^[0-9a-f]+$")] = None,
) -> AuditPage:  # fmt: skip
    """Names, addresses and ids; never what was on a picture."""
    await gate.audit_log.flush()
    plain = {name: value.replace("\x00", "") for name, value in (("owner", owner), ("action", action), ("what", what)) if value}
    found = await gate.database.read(audit.list_latest, limit, before=before, **plain)
    return AuditPage(data=[AuditEntry(**vars(line)) for line in found], next=found[-1].id if len(found) == limit else None)
