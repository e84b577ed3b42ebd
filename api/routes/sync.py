"""`/v1/sync`: status of the synchronisation with HQ."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import ServicesDep
from api.openapi import operation_id

router = APIRouter(tags=["records"], generate_unique_id_function=operation_id)


class SyncStatus(BaseModel):
    """Status of the synchronisation with HQ."""

    enabled: bool = Field(description="True if synchronisation is switched on.")
    waiting: int = Field(0, description="Number of records that HQ has not confirmed.")
    oldest: datetime | None = Field(None, description="Time since which the oldest of them has been waiting.")
    sending: bool = Field(False, description="True while a run is in progress or waits for a retry.")
    next_run: datetime | None = Field(None, description="Time of the next run.")
    last_success: datetime | None = Field(None, description="Time of the last run that sent all records.")
    last_error: str | None = Field(None, description="Last error.")
    last_error_at: datetime | None = Field(None, description="Time of the last error.")


@router.get("/v1/sync", summary="Get the synchronisation status")
async def get_sync_status(services: ServicesDep) -> SyncStatus:
    """Return how many records HQ has not received yet, and the last error."""
    if services.sync is None:
        return SyncStatus(enabled=False)
    return SyncStatus(enabled=True, **vars(await services.sync.state()))
