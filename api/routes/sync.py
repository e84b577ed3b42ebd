"""`/v1/sync`: how far HQ lags behind, and why."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import ServicesDep

router = APIRouter(tags=["records"])


class SyncStatus(BaseModel):
    """The way of the records to HQ."""

    enabled: bool
    waiting: int = Field(0, description="Records that HQ has not confirmed.")
    oldest: datetime | None = Field(None, description="Since when the oldest of them waits.")
    sending: bool = Field(False, description="A run is on its way, or waits to try again.")
    next_run: datetime | None = None
    last_success: datetime | None = Field(None, description="When a run last ended with nothing left to send.")
    last_error: str | None = None
    last_error_at: datetime | None = None


@router.get("/v1/sync", summary="How the sync to HQ goes")
async def sync(services: ServicesDep) -> SyncStatus:
    """`enabled` is false where nothing is ever sent."""
    if services.sync is None:
        return SyncStatus(enabled=False)
    return SyncStatus(enabled=True, **vars(await services.sync.state()))
