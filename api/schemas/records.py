"""Requests and responses of stored records."""

from __future__ import annotations

import base64
import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hunyuanocr.errors import InvalidValue
from hunyuanocr.result_schema import OcrResponse, Warning
from hunyuanocr.store.records import Packed
from hunyuanocr.store.records import Record as StoredRecord
from hunyuanocr.store.result_codec import decode_result
from hunyuanocr.store.search import RecordQuery

PageEnd = tuple[datetime, str]  # time and id of the last record of a page
_SPACE_FOR_PLUS = re.compile(r"(?<=:\d\d) (?=\d\d:?\d\d$)")  # a '+' that is not escaped in a query string means a space


def _parse_time(text: Any, *, end: bool) -> Any:
    """Parse a date or time in ISO 8601. Without a time zone it is local time. A date is the start of the day; `end`: its end.

    Raises ValueError.
    """
    if not isinstance(text, str):
        return text
    try:
        time = datetime.fromisoformat(_SPACE_FOR_PLUS.sub("+", text.strip()))
        if end and _is_day(text.strip()):
            time += timedelta(days=1)
        return time.astimezone()
    except (ValueError, OverflowError, OSError):
        raise ValueError("write a date as 2026-11-20 or a time as 2026-11-20T08:30") from None


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


class RecordFilter(BaseModel):
    """Search conditions, combined with AND. Unknown names are rejected: a misspelt one must not match all records."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(None, max_length=1000, description="Substring of the text on the page, in any language.")
    field: str | None = Field(None, max_length=400, description="Field name; `items.amount` for a column of a table.")
    value: str | None = Field(None, max_length=1000, description="Substring of a printed value, or a whole normalised value.")
    since: Annotated[datetime | None, BeforeValidator(lambda v: _parse_time(v, end=False))] = Field(
        None, description="Earliest time: a date or time in ISO 8601; local time without a time zone."
    )
    until: Annotated[datetime | None, BeforeValidator(lambda v: _parse_time(v, end=True))] = Field(
        None, description="Latest time: a date (inclusive) or a time (exclusive)."
    )
    device: str | None = Field(None, max_length=200, description="Name of the sending device.")
    source: str | None = Field(None, max_length=20, description="`ocr`, `chat`, `job`, `page`, `watch` or `ws`.")
    task: str | None = Field(None, max_length=20, description="Task, for example `extract`.")

    def search(self, owner: str) -> RecordQuery:
        """Return the query for the store, limited to the records of `owner`."""
        return RecordQuery(owner, **{name: getattr(self, name) for name in RecordFilter.model_fields})


class RecordPageQuery(RecordFilter):
    """Search conditions and page."""

    limit: int = Field(50, ge=1, le=200, description="Maximum number of records on a page.")
    cursor: str | None = Field(None, max_length=400, description="`next` of the previous page.")

    def after(self) -> PageEnd | None:
        """Return the end of the previous page, which the cursor encodes. Raises InvalidValue for an invalid cursor."""
        if self.cursor is None:
            return None
        try:
            text, _, id = base64.urlsafe_b64decode(self.cursor).decode().partition("|")
            time = datetime.fromisoformat(text)
            if time.tzinfo is None:
                raise ValueError(text)
            time = time.astimezone(UTC)
        except (ValueError, OverflowError) as e:
            raise InvalidValue("Invalid 'cursor'.", hint="Send the value of 'next' of the previous page unchanged.") from e
        return time, id


def next_cursor(last: StoredRecord) -> str:
    """Return the cursor of the page after this record."""
    return base64.urlsafe_b64encode(f"{last.created_at.isoformat()}|{last.id}".encode()).decode()


class Record(BaseModel):
    """Stored result, without positions."""

    id: str = Field(description="Id of the result.")
    created_at: datetime
    device: str | None = Field(description="Name of the sending device.")
    source: str = Field(description="`ocr`, `chat`, `job`, `page`, `watch` or `ws`.")
    task: str
    instruction: str
    text: str
    fields: dict[str, Any] = Field(description="Fields as printed.")
    pages: int = Field(description="Number of pages.")
    confidence: float | None = Field(description="Mean confidence of the lines, from 0 to 1.")
    confidence_min: float | None = Field(description="Lowest confidence of the lines, from 0 to 1.")
    warnings: list[Warning]
    backend: str
    model: str
    image: bool = Field(description="True if the image is stored: `/v1/records/{id}/image`.")

    @classmethod
    def of(cls, record: StoredRecord) -> Record:
        """Convert a record of the store."""
        return cls(**cls._values(record))

    @staticmethod
    def _values(record: StoredRecord) -> dict[str, Any]:
        names = set(Record.model_fields) - {"image"}
        return {name: getattr(record, name) for name in names} | {"image": record.image is not None}


class RecordDetail(Record):
    """Stored result with the whole response."""

    result: OcrResponse

    @classmethod
    def from_stored(cls, record: StoredRecord, encoded: Packed) -> RecordDetail:
        """Convert a record and its encoded result."""
        return cls(**cls._values(record), result=OcrResponse.of(decode_result(encoded)))


class RecordList(BaseModel):
    """One page of records, newest first."""

    data: list[Record]
    next: str | None = Field(description="Value of `cursor` for the next page; null on the last page.")
