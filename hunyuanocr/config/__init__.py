"""All settings: `Settings` and its groups. Each field has a description, which docs/settings.md lists.

Precedence: command line flag, environment variable (`HUNYUANOCR_`, `__` for nesting), TOML file, default. An unknown key in the
file and an unknown variable with the prefix are errors at startup.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from hunyuanocr.config.backends import BackendChoice, PpocrSettings, TorchSettings, VllmSettings
from hunyuanocr.config.base import SettingsGroup, UserPath
from hunyuanocr.config.environment import PREFIX, EnvironmentSource
from hunyuanocr.config.network import NetworkSettings
from hunyuanocr.config.security import JwtSettings, SecuritySettings
from hunyuanocr.config.services import CameraSettings, JobSettings, StoreSettings, SyncSettings, WatchSettings
from hunyuanocr.errors import ConfigError

__all__ = [
    "BackendChoice",
    "CameraSettings",
    "ImageSettings",
    "JobSettings",
    "JwtSettings",
    "LogSettings",
    "NetworkSettings",
    "PipelineSettings",
    "PpocrSettings",
    "SecuritySettings",
    "ServerSettings",
    "Settings",
    "SettingsGroup",
    "StoreSettings",
    "SyncSettings",
    "TorchSettings",
    "VllmSettings",
    "WatchSettings",
    "load_settings",
]


class ServerSettings(SettingsGroup):
    """Addresses and ports of the server."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on. 0.0.0.0: all interfaces, so that phones on the LAN can connect."
    )
    port: int = Field(7860, ge=0, le=65535, description="Port of the page and the API.")
    api_port: int = Field(
        8000, ge=0, le=65535, description="Port of the API without the page, so that a firewall can separate devices from staff."
    )
    page: bool = Field(True, description="Serve the Gradio page. Off saves about 75 MB of memory.")
    grace_s: float = Field(
        8.0, ge=0, le=600, description="Time for running requests to finish at shutdown, in seconds. New requests get 503."
    )


class ImageSettings(SettingsGroup):
    """Limits of images and documents."""

    max_bytes: int = Field(32 * 1024 * 1024, gt=0, description="Maximum upload size, bytes.")
    max_pixels: int = Field(100_000_000, gt=0, description="Maximum page size, pixels (width × height). Checked before decoding.")
    max_pages: int = Field(50, gt=0, description="Maximum pages of one PDF or TIFF.")
    long_side: int = Field(
        2048,
        ge=256,
        description="Maximum length of the longer side of a page, pixels. Larger pages are scaled down before they are read. "
        "A page more than three times as long as wide may be longer, with as many pixels as a square page.",
    )
    pdf_dpi: int = Field(200, ge=50, le=600, description="Resolution of rendered PDF pages, dots per inch.")
    pdf_timeout_s: float = Field(
        20.0,
        gt=0,
        le=3600,
        description="Time limit for rendering one PDF page, seconds. A whole PDF or TIFF may take three times as long.",
    )
    pdf_memory_mb: float = Field(
        512.0,
        ge=64,
        description="Memory limit of a process that renders PDFs, MB. At most two run, and only when needed.",
    )
    decode_memory_mb: float | None = Field(
        None,
        gt=0,
        description="Memory for decoding all images, MB. An image that needs more is refused. "
        "Default: 170 with `ppocr.small_memory`, otherwise 1000.",
    )


class PipelineSettings(SettingsGroup):
    """Admission queue, deadlines, circuit breaker, cache."""

    queue_size: int = Field(32, ge=1, description="Maximum number of waiting requests. Further ones get 429.")
    deadline_s: float = Field(
        120.0,
        gt=0,
        description="Time limit of a request including waiting, seconds. After it the work is cancelled and the client gets 504.",
    )
    breaker_failures: int = Field(5, ge=1, description="Consecutive failures of the backend that open the circuit breaker.")
    breaker_reset_s: float = Field(
        10.0, gt=0, description="Time that the circuit breaker stays open, seconds. Requests get 503 meanwhile."
    )
    cache_mb: float = Field(16.0, ge=0, description="Size of the result cache, MB. 0: no cache.")
    cache_age_s: float = Field(600.0, gt=0, description="Lifetime of a cached result, seconds.")
    evidence_backend: Literal["auto", "off"] = Field(
        "auto", description="auto: the CPU backend locates the values of the model on the page. off: no check, for weak CPUs."
    )


class LogSettings(SettingsGroup):
    """Logging. Logs never contain images, text of pages or instructions."""

    format: Literal["text", "json"] = Field("text", description="text: readable lines; json: one JSON object per line.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum level of logged messages.")
    file: UserPath | None = Field(None, description="Log file in addition to stderr. It is rotated by size.")
    file_mb: float = Field(10.0, gt=0, description="Size at which the log file is rotated, MB.")
    files: int = Field(5, ge=1, le=100, description="Number of rotated files to keep.")


class Settings(BaseSettings):
    """All settings of the appliance."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, protected_namespaces=()
    )

    backend: BackendChoice = Field(
        "auto",
        description="OCR backend. auto: the GPU model if weights and a GPU are available, otherwise ppocr. "
        "fake: invented answers, for tests of clients.",
    )
    model_path: UserPath = Field(Path("models/hunyuanocr-1b"), description="Folder with the HunyuanOCR weights.")
    data: UserPath = Field(Path("data"), description="Folder for the database, stored images and session keys.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$",
        description="Device of the model: cpu, cuda or cuda:N. auto: the first GPU, otherwise the CPU.",
    )
    server: ServerSettings = ServerSettings()
    network: NetworkSettings = NetworkSettings()
    security: SecuritySettings = SecuritySettings()
    images: ImageSettings = ImageSettings()
    ppocr: PpocrSettings = PpocrSettings()
    torch: TorchSettings = TorchSettings()
    vllm: VllmSettings = VllmSettings()
    pipeline: PipelineSettings = PipelineSettings()
    camera: CameraSettings = CameraSettings()
    store: StoreSettings = StoreSettings()
    sync: SyncSettings = SyncSettings()
    jobs: JobSettings = JobSettings()
    watch: WatchSettings = WatchSettings()
    log: LogSettings = LogSettings()

    @property
    def database_url(self) -> str:
        """Return the database URL: the setting `store.url`, or the SQLite file in the data folder."""
        url = self.store.url
        if url is not None:
            return url.get_secret_value()
        return f"sqlite:///{quote(str(self.data / 'hunyuanocr.db'), safe=' /')}"  # `%` and `?` have a meaning in URLs

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by precedence: flags, environment, TOML file. There is no .env file and no secrets folder."""
        file = os.environ.get("HUNYUANOCR_CONFIG")
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, EnvironmentSource(settings_cls))
        return (*sources, InitSettingsSource(settings_cls, read_settings_file(Path(file)))) if file else sources


def read_settings_file(file: Path) -> dict[str, Any]:
    """Return the content of the TOML file. Raises ConfigError if it cannot be read."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))  # Windows editors write a BOM
    except FileNotFoundError as e:
        hint = "Correct --config or HUNYUANOCR_CONFIG."
        raise ConfigError(f"The settings file {file} does not exist.", hint=hint) from e
    except OSError as e:
        hint = "Give this program's user read permission for the file."
        raise ConfigError(f"The settings file {file} cannot be read: {e.strerror}.", hint=hint) from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"The settings file {file} is not UTF-8.", hint="Save it with the encoding UTF-8.") from e
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"Cannot parse the settings file {file}: {e}.", hint="Correct the file: its format is TOML.") from e


def load_settings(**flags: Any) -> Settings:
    """Load settings from flags (nested dicts for groups), environment and TOML file.

    Raises ConfigError, whose message lists all invalid settings.
    """
    try:
        return Settings(**flags)
    except ValidationError as e:
        lines = "; ".join(f"{'.'.join(map(str, m['loc']))}: {m['msg']}" for m in e.errors(include_input=False, include_url=False))
        raise ConfigError(f"Invalid settings: {lines}.") from e
