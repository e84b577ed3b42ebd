"""Settings of the services: cameras, store, jobs, watch folder, HQ."""

from __future__ import annotations

import base64

from pydantic import Field, SecretStr, field_validator

from hunyuanocr.config.base import SettingsGroup, UserPath


class CameraSettings(SettingsGroup):
    """Cameras that send frames over WebSocket."""

    rate: float = Field(
        15.0,
        gt=0,
        le=120,
        description="Maximum frames per second that are processed for one camera, by the timestamps of the frames.",
    )
    max_bytes: int = Field(8 * 1024 * 1024, ge=1024, description="Maximum frame size, bytes.")
    vote_window: int = Field(
        5, ge=1, le=99, description="Number of recent results of one scene over which field values are voted. 1: no voting."
    )
    session_ttl_s: float = Field(60.0, ge=0, description="Time in which a disconnected camera can resume its session, seconds.")
    connections: int = Field(4096, ge=1, description="Maximum number of connected cameras. Further ones are refused.")


class StoreSettings(SettingsGroup):
    """The database: records, jobs and stored images."""

    enabled: bool = Field(True, description="Store every result as a record. Jobs and sync require it.")
    url: SecretStr | None = Field(
        None,
        description="Database URL: sqlite:///folder/file.db or postgresql://user:password@host/name. "
        "Default: the SQLite file hunyuanocr.db in the data folder.",
    )
    retention_days: float = Field(365.0, ge=0, description="Retention time of records, days. 0: no limit.")
    keep_images: bool = Field(False, description="Store the images too, as files in the data folder.")
    image_days: float = Field(30.0, ge=0, description="Retention time of stored images, days. 0: as long as the record.")
    ephemeral: bool = Field(
        False,
        description="Store nothing permanently: no records; images of jobs until they are read, results until they are fetched.",
    )
    ephemeral_minutes: float = Field(
        15.0, gt=0, description="Time after which an ephemeral result is deleted even if it was not fetched, minutes."
    )


class JobSettings(SettingsGroup):
    """Jobs: images that are accepted now and read later."""

    queue: int = Field(1000, ge=1, description="Maximum number of waiting and running jobs. Further ones get 429.")
    queue_mb: float = Field(2000.0, gt=0, description="Maximum size of all waiting images in the database, MB.")
    batch_files: int = Field(1000, ge=1, description="Maximum number of files in one batch, including those inside ZIP files.")
    batch_mb: float = Field(
        200.0, gt=0, description="Maximum size of a batch, MB, as sent and unpacked. The batch is held in memory."
    )
    deadline_s: float = Field(600.0, gt=0, description="Time limit for reading one job, seconds.")
    retention_hours: float = Field(
        168.0, gt=0, description="Time that a finished job can be queried, hours. Its record is kept longer."
    )
    webhook_hosts: tuple[str, ...] = Field(
        (),
        description='Hosts that webhooks may call, with port ("erp.local", "192.168.1.20:8080"). Empty: webhooks are disabled.',
    )
    webhook_secret: SecretStr | None = Field(
        None, description="Key to sign webhooks: whsec_ followed by base64 of 24 to 64 random bytes."
    )

    @field_validator("webhook_secret")
    @classmethod
    def _signable(cls, value: SecretStr | None) -> SecretStr | None:
        """Check the key format of the Standard Webhooks specification."""
        if value is not None:
            try:
                key = base64.b64decode(value.get_secret_value().removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if not 24 <= len(key) <= 64:
                raise ValueError("not base64 of 24 to 64 bytes; create a key with: echo whsec_$(openssl rand -base64 32)")
        return value


class WatchSettings(SettingsGroup):
    """A folder whose new images are read automatically."""

    folder: UserPath | None = Field(None, description="Folder whose new images are read automatically. Default: none.")
    instruction: str = Field("", max_length=4000, description="Instruction for these images in free text. Empty: read all text.")
    results: UserPath | None = Field(None, description="Existing folder for the results. Default: next to the image in done/.")
    csv: bool = Field(False, description="Also write the fields of each image as a CSV file.")
    subfolders: bool = Field(False, description="Also watch subfolders.")
    interval_s: float = Field(
        2.0, gt=0, description="Scan interval, seconds. A file that does not change between two scans is considered complete."
    )


class SyncSettings(SettingsGroup):
    """Sending records to headquarters (HQ). Off by default: no data leaves the site."""

    enabled: bool = Field(False, description="Send new records to HQ.")
    url: str | None = Field(None, description="URL of HQ for batches: https://host/v1/batches.")
    public_key: str | None = Field(
        None, description="Public key of HQ, as printed by hunyuanocr hq-keys. Only HQ can decrypt a batch."
    )
    schedule: str = Field(
        "0 3 * * *", description="When to send, in cron syntax (minute, hour, day, month, weekday) and local time."
    )
    site: str = Field("", max_length=200, description="Name of this site, as shown to HQ.")
    fields: list[str] = Field(["*"], description='Names of the fields to send. ["*"]: all; []: none.')
    text: bool = Field(False, description="Also send the instruction and the full text of the page. Images are never sent.")
    token: SecretStr | None = Field(None, description="Bearer token for HQ.")
    ca_file: UserPath | None = Field(None, description="PEM file of the certificate authority of HQ, if it is a private one.")
