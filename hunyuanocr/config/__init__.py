"""All settings in one place: `Settings` and its groups, each field with a sentence.

Order: keyword (a flag) > environment (`HUNYUANOCR_`, `__` for nesting) > file (TOML) > default. An unknown key in the file is
an error at start.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from hunyuanocr.config.base import SettingsGroup
from hunyuanocr.config.network import NetworkSettings
from hunyuanocr.config.security import SecuritySettings
from hunyuanocr.errors import ConfigError

BackendChoice = Literal["torch", "vllm", "ppocr", "auto"]


class ServerSettings(SettingsGroup):
    """Where the appliance listens."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 lets phones on the LAN in.")
    port: int = Field(7860, ge=0, le=65535, description="Port of the page and the API.")
    api_port: int = Field(
        8000, ge=0, le=65535, description="Port of the API alone, so that a firewall can tell staff from devices."
    )
    page: bool = Field(True, description="Serve the Gradio page; off saves about 75 MB of memory.")
    grace_s: float = Field(
        8.0, ge=0, le=600, description="Seconds that readings may take to end when the server is told to stop; new ones get 503."
    )


class ImageSettings(SettingsGroup):
    """What pictures are taken in."""

    max_bytes: int = Field(32 * 1024 * 1024, gt=0, description="Largest upload in bytes.")
    max_pixels: int = Field(100_000_000, gt=0, description="Largest page in pixels (width × height), checked before decoding.")
    max_pages: int = Field(50, gt=0, description="Most pages of one PDF or TIFF.")
    long_side: int = Field(2048, ge=256, description="Longer side in pixels to which a page is scaled down before it is read.")
    pdf_dpi: int = Field(200, ge=50, le=600, description="Resolution in dots per inch at which PDF pages are drawn.")
    pdf_timeout_s: float = Field(
        20.0, gt=0, le=3600,
        description="Seconds that one page of a PDF may take to draw; a whole document, TIFF too, may take three times as long.",
    )  # fmt: skip
    pdf_memory_mb: float = Field(
        512.0, ge=64, description="Memory in MB of a process that draws PDFs; at most two run, and none while no PDF comes."
    )
    decode_memory_mb: float | None = Field(
        None, gt=0,
        description="Memory in MB for pictures being decoded, all together; a picture that needs more is refused. "
        "none takes 170 with `ppocr.small_memory`, else 1,000.",
    )  # fmt: skip


class PpocrSettings(SettingsGroup):
    """The CPU reader (PP-OCR networks)."""

    runtime: Literal["auto", "openvino", "onnxruntime"] = Field(
        "auto", description="What runs the networks; auto takes OpenVINO on x86-64 where it is installed, else onnxruntime."
    )
    threads: int = Field(0, ge=0, description="CPU threads of one reading; 0 takes what the process may use.")
    workers: int = Field(1, ge=1, description="Readings at the same time.")
    load: Literal["eager", "lazy"] = Field("eager", description="Load the networks at start, or at the first picture.")
    batch: int = Field(
        1, ge=1, description="Text lines of one width that the recogniser reads in one call; 1 is fastest on few cores."
    )
    small_memory: bool = Field(False, description="Trade speed for memory: the whole API without the page within 512 MiB.")
    int8: bool = Field(
        False, description="8-bit networks, made once by bench/quantise.py (docs/reader.md: what they win and cost)."
    )
    upscale_small_images: Literal["off", "auto"] = Field(
        "off", description="auto enlarges small pictures more before lines are looked for (docs/reader.md: what it wins)."
    )
    recogniser: Path | None = Field(None, description="ONNX file of a CTC recogniser that replaces the built-in one.")
    dictionary: Path | None = Field(None, description="Its characters, one a line, without the CTC blank.")


class TorchSettings(SettingsGroup):
    """The PyTorch engine of the HunyuanOCR model."""

    dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="Number format; auto takes float16 on a GPU, and on a CPU bfloat16 where it computes in it."
    )
    vram_gb: float = Field(8.0, gt=0, description="Memory in GB for weights, KV cache and work, on the GPU (or the CPU).")
    max_num_seqs: int = Field(8, ge=1, le=64, description="Requests that the model writes at the same time.")
    graphs: bool = Field(True, description="CUDA graphs for the decode step; switch off to look for a driver's fault.")


class VllmSettings(SettingsGroup):
    """The vLLM engine of the HunyuanOCR model; number format and memory are those of the group `torch`."""

    url: str | None = Field(
        None, pattern=r"^https?://[^\s/]+",
        description="Address of a vLLM server that runs already (http://192.168.1.5:8000); none starts one on this machine.",
    )  # fmt: skip


class CameraSettings(SettingsGroup):
    """Cameras that send frames over a WebSocket."""

    rate: float = Field(
        15.0, gt=0, le=120, description="Frames a second of one camera that are looked at, by the frames' own timestamps."
    )
    max_bytes: int = Field(8 * 1024 * 1024, ge=1024, description="Largest frame in bytes.")
    vote_window: int = Field(
        5, ge=1, le=99, description="Readings of one scene by which a field that flickers is voted; 1 takes each as it is."
    )
    session_ttl_s: float = Field(
        60.0, ge=0, description="Seconds for which a camera that lost its connection can go on where it was."
    )
    connections: int = Field(4096, ge=1, description="Cameras that may be connected; one more is refused.")


class PipelineSettings(SettingsGroup):
    """Admission, deadlines, cache."""

    queue_size: int = Field(32, ge=1, description="Requests that may wait; one more is answered 429.")
    deadline_s: float = Field(
        120.0, gt=0, description="Seconds a request may take, waiting included; then 504 and the work is cancelled."
    )
    breaker_failures: int = Field(5, ge=1, description="Failures of the reader in a row after which it is given a rest.")
    breaker_reset_s: float = Field(10.0, gt=0, description="Seconds of that rest; requests are answered 503 meanwhile.")
    cache_mb: float = Field(16.0, ge=0, description="Memory of the result cache in MB; 0 switches it off.")
    cache_age_s: float = Field(600.0, gt=0, description="Seconds that a cached result may live.")
    evidence_backend: Literal["auto", "off"] = Field(
        "auto", description="auto has the CPU reader look up on the page what the model extracts; off spares a weak CPU that."
    )


class StoreSettings(SettingsGroup):
    """Records, jobs and kept pictures."""

    enabled: bool = Field(True, description="Keep every result as a record; off keeps nothing, and jobs and sync need it on.")
    url: SecretStr | None = Field(
        None,
        description="Database: sqlite:///folder/file.db or postgresql://user:password@host/name; "
        "none is the file hunyuanocr.db in the data folder.",
    )
    retention_days: float = Field(365.0, ge=0, description="Days after which a record is deleted; 0 keeps records for ever.")
    keep_images: bool = Field(False, description="Keep the pictures too, as files in the data folder.")
    image_days: float = Field(
        30.0, ge=0, description="Days after which a kept picture is deleted; 0 keeps it as long as its record."
    )
    ephemeral: bool = Field(
        False, description="Keep nothing: no records; a job's picture until it was read, its result until it was fetched."
    )
    ephemeral_minutes: float = Field(
        15.0, gt=0, description="Minutes after which an ephemeral job's result is deleted even if nobody fetched it."
    )


class JobSettings(SettingsGroup):
    """Pictures that are accepted now and read later."""

    queue: int = Field(1000, ge=1, description="Jobs that may wait or be read; one more is answered 429.")
    queue_mb: float = Field(2000.0, gt=0, description="Megabytes of pictures that may wait in the database.")
    batch_files: int = Field(1000, ge=1, description="Most files of one batch, those in a ZIP counted.")
    batch_mb: float = Field(200.0, gt=0, description="Largest batch in megabytes, sent and unpacked; it is held in memory.")
    deadline_s: float = Field(600.0, gt=0, description="Seconds that the reading of one job may take.")
    retention_hours: float = Field(168.0, gt=0, description="Hours after its end that a job can be asked for; its record stays.")
    webhook_hosts: tuple[str, ...] = Field(
        (), description='Hosts that webhooks may call, with their port ("erp.local", "192.168.1.20:8080"); none calls nobody.'
    )
    webhook_secret: SecretStr | None = Field(
        None, description="Key that signs webhooks: whsec_ and base64 of 24 to 64 random bytes."
    )

    @field_validator("webhook_secret")
    @classmethod
    def _signable(cls, value: SecretStr | None) -> SecretStr | None:
        """As the Standard Webhooks specification wants keys to be."""
        if value is not None:
            try:
                key = base64.b64decode(value.get_secret_value().removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if not 24 <= len(key) <= 64:
                raise ValueError("no base64 of 24 to 64 bytes; make one with: echo whsec_$(openssl rand -base64 32)")
        return value


class WatchSettings(SettingsGroup):
    """A folder whose new pictures are read by themselves."""

    folder: Path | None = Field(None, description="Folder whose new pictures the server reads; none watches nothing.")
    instruction: str = Field("", max_length=4000, description="What is wanted of them, in free words; empty reads all text.")
    results: Path | None = Field(
        None, description="Folder for the answers, which must exist; none puts each beside its picture in done/."
    )
    csv: bool = Field(False, description="Write the fields of each picture as a CSV file too.")
    subfolders: bool = Field(False, description="Watch the folders in it as well.")
    interval_s: float = Field(
        2.0, gt=0, description="Seconds between two looks; a file that did not change in between is complete."
    )


class SyncSettings(SettingsGroup):
    """Records on their way to an HQ. Off: nothing leaves the building."""

    enabled: bool = Field(False, description="Send what is recorded from now on to HQ.")
    url: str | None = Field(None, description="HQ's address for batches: https://host/v1/batches.")
    public_key: str | None = Field(None, description="HQ's public key, which hunyuanocr hq-keys shows; only HQ can read a batch.")
    schedule: str = Field("0 3 * * *", description="When to send, as cron has it: minute, hour, day, month, weekday; local time.")
    site: str = Field("", max_length=200, description="Name of this shop, by which HQ tells its shops apart.")
    fields: list[str] = Field(["*"], description='Fields whose values go to HQ, by their names; ["*"] sends all, [] none.')
    text: bool = Field(False, description="Send the instruction and all text of the page too. Pictures are never sent.")
    token: SecretStr | None = Field(None, description="Bearer token that HQ wants to see.")
    ca_file: Path | None = Field(None, description="PEM file of the authority that signed HQ's certificate, if it is your own.")


class LogSettings(SettingsGroup):
    """What is written down about the program's work: never a picture, a text or an instruction."""

    format: Literal["text", "json"] = Field("text", description="Lines for people, or one JSON object a line for programs.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is told, from this level on.")
    file: Path | None = Field(None, description="A file besides stderr, which journald or Docker keep; turned over by its size.")
    file_mb: float = Field(10.0, gt=0, description="Megabytes after which the file is put aside and a new one begun.")
    files: int = Field(5, ge=1, le=100, description="How many of those that were put aside are kept.")


class Settings(BaseSettings):
    """Every setting of the appliance."""

    model_config = SettingsConfigDict(
        env_prefix="HUNYUANOCR_", env_nested_delimiter="__", extra="forbid", frozen=True, protected_namespaces=()
    )

    backend: BackendChoice = Field(
        "auto", description="Which reader serves; auto takes the GPU model when weights and GPU are there."
    )
    model_path: Path = Field(Path("models/hunyuanocr-1b"), description="Folder of the HunyuanOCR weights.")
    data: Path = Field(Path("data"), description="Folder of what the appliance keeps: its database and kept pictures.")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$",
        description="Device of the model: cpu, cuda or cuda:N; auto takes the first GPU, else the CPU.",
    )  # fmt: skip
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
        """Where the store is: the setting, or the SQLite file in the data folder."""
        url = self.store.url
        return f"sqlite:///{self.data / 'hunyuanocr.db'}" if url is None else url.get_secret_value()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the file; no .env and no secrets folder: one way to set a thing."""
        file = os.environ.get("HUNYUANOCR_CONFIG")
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, Path(file))) if file else sources


def load_settings(**flags: Any) -> Settings:
    """Settings from flags (nested dicts for groups), environment and file; raises ConfigError with one line a mistake."""
    file = os.environ.get("HUNYUANOCR_CONFIG")
    if file and not Path(file).is_file():
        raise ConfigError(f"The settings file {file} does not exist.", hint="Correct --config or HUNYUANOCR_CONFIG.")
    try:
        return Settings(**flags)
    except ValidationError as e:
        lines = "; ".join(f"{'.'.join(map(str, m['loc']))}: {m['msg']}" for m in e.errors(include_input=False, include_url=False))
        raise ConfigError(f"The settings cannot be used: {lines}.") from e
    except ValueError as e:  # a TOML file that does not parse
        raise ConfigError(f"The settings file {file} cannot be read: {e}.") from e
