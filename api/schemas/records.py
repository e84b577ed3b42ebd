"""The wire of records: what may be searched for, and what a record looks like to a client."""

from __future__ import annotations

import base64
import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas.ocr import OcrResponse, Warning
from hunyuanocr.errors import InvalidValue
from hunyuanocr.store.records import Packed
from hunyuanocr.store.records import Record as StoredRecord
from hunyuanocr.store.result_codec import decode_result, sanitize_json
from hunyuanocr.store.search import RecordQuery

Place = tuple[datetime, str]  # the time and id of a page's last record
_SPACE_FOR_PLUS = re.compile(r"(?<=:\d\d) (?=\d\d:?\d\d$)")  # '+' in an address means a space


def _moment(text: Any, *, end: bool) -> Any:
    """ISO 8601; without a zone it is the machine's own time. A day alone is its first moment, and as an end its last."""
    if not isinstance(text, str):
        return text
    try:
        moment = datetime.fromisoformat(_SPACE_FOR_PLUS.sub("+", text.strip()))
        if end and _is_day(text.strip()):
            moment += timedelta(days=1)
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise ValueError("write a day as 2026-11-20, or a moment as 2026-11-20T08:30") from None


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


Words = Annotated[str, BeforeValidator(sanitize_json)]  # as in the store: PostgreSQL takes no NUL


class RecordFilter(BaseModel):
    """What is searched for; all that is given must hold. An unknown name is refused: a slip must not find everything."""

    model_config = ConfigDict(extra="forbid")

    text: Words | None = Field(None, max_length=1000, description="Part of the text on the page, in any language.")
    field: Words | None = Field(None, max_length=400, description="A field's name; `items.amount` for a cell of rows.")
    value: Words | None = Field(None, max_length=1000, description="Part of a value as printed, or a whole normalised value.")
    since: Annotated[datetime | None, BeforeValidator(lambda v: _moment(v, end=False))] = Field(
        None, description="A day, or a moment in ISO 8601; without a zone it is the machine's own time."
    )
    until: Annotated[datetime | None, BeforeValidator(lambda v: _moment(v, end=True))] = Field(
        None, description="A day, which is included, or a moment, which is not."
    )
    device: Words | None = Field(None, max_length=200)
    source: Words | None = Field(None, max_length=20, description="ocr, chat, job, page, watch or ws.")
    task: Words | None = Field(None, max_length=20)

    def search(self, owner: str) -> RecordQuery:
        """For the store."""
        return RecordQuery(owner, **{name: getattr(self, name) for name in RecordFilter.model_fields})


class RecordPageQuery(RecordFilter):
    """A search and which page of it."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=400, description="`next` of the page before.")

    def after(self) -> Place | None:
        """Where the page before ended; raises InvalidValue for a cursor that we did not make."""
        if self.cursor is None:
            return None
        try:
            time, _, id = base64.urlsafe_b64decode(self.cursor).decode().partition("|")
            moment = datetime.fromisoformat(time)
            if moment.tzinfo is None or "\x00" in id:
                raise ValueError(time)
            moment = moment.astimezone(UTC)
        except (ValueError, OverflowError) as e:
            raise InvalidValue("The 'cursor' is not one of ours.", hint="Use 'next' of the page before as it is.") from e
        return moment, id


def next_cursor(last: StoredRecord) -> str:
    """For the page after this record."""
    return base64.urlsafe_b64encode(f"{last.created_at.isoformat()}|{last.id}".encode()).decode()


class Record(BaseModel):
    """One answer that was kept."""

    id: str = Field(description="The answer's own id.")
    created_at: datetime
    device: str | None
    source: str
    task: str
    instruction: str
    text: str
    fields: dict[str, Any] = Field(description="As printed.")
    pages: int
    confidence: float | None = Field(description="Mean of the lines'.")
    confidence_min: float | None
    warnings: list[Warning]
    backend: str
    model: str
    image: bool = Field(description="Whether the picture is kept: `/v1/records/{id}/image`.")

    @classmethod
    def of(cls, record: StoredRecord) -> Record:
        """From the store's Record."""
        return cls(**cls._about(record))

    @staticmethod
    def _about(record: StoredRecord) -> dict[str, Any]:
        names = set(Record.model_fields) - {"image"}
        return {name: getattr(record, name) for name in names} | {"image": record.image is not None}


class RecordDetail(Record):
    """One answer that was kept, whole."""

    result: OcrResponse

    @classmethod
    def whole(cls, record: StoredRecord, packed: Packed) -> RecordDetail:
        """With the answer as the client got it."""
        return cls(**cls._about(record), result=OcrResponse.of(decode_result(packed)))


class RecordList(BaseModel):
    """One page of a search, the newest first."""

    data: list[Record]
    next: str | None = Field(description="The `cursor` of the next page; null at the end.")
