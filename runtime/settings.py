"""Every setting, its default for a laptop, and the environment variable that changes it.

Order of precedence: environment, then the YAML file named by `AGENTIC_CONFIG`, then the defaults here. The names of the
deployment document (`DATABASE_URL`, `API_PORT`, `SECRET_KEY`, …) are plain; the others start with `AGENTIC_`.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from runtime.limit_settings import ProviderLimits
from runtime.tool_settings import SOURCE_NAME, Api, McpServer


def _named(*names: str) -> Any:
    """A field read from these variables (the first one wins) or from its own name in the file."""
    return AliasChoices(*names)


Days = Annotated[float, Field(ge=0)]
LEAST_LEDGER_DAYS = 32
"""A month, which budgets are counted from."""
ProviderName = Literal["openai", "openai-compatible", "anthropic", "google", "bedrock"]
SourceName = Annotated[str, Field(pattern=rf"^{SOURCE_NAME}$")]


class Retention(BaseModel):
    """Days that ended runs are kept, by how they ended; null: for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    succeeded: Days | None = 30
    failed: Days | None = 90
    canceled: Days | None = 30


class Settings(BaseSettings):
    """The configuration of one process. Unknown keys in the file are errors."""

    model_config = SettingsConfigDict(env_prefix="AGENTIC_", extra="forbid", populate_by_name=True, frozen=True, use_attribute_docstrings=True)

    home: Path = Path(".agentic")
    """Where the embedded default keeps its database, artifacts, key and process files."""
    database_url: str | None = Field(default=None, validation_alias=_named("DATABASE_URL", "database_url"))
    """`sqlite:///path` or `postgresql+asyncpg://…`; a file in `home` when absent."""
    database_password_file: Path | None = None
    """A file whose text is the database password, so that the URL need not carry it."""
    durability: Literal["full", "relaxed"] = "full"
    """`relaxed` lets a power loss take the last commits (SQLite synchronous=NORMAL); /health shows it."""

    artifacts_storage: Literal["local", "s3"] = Field(default="local", validation_alias=_named("ARTIFACTS_STORAGE", "artifacts_storage"))
    artifacts_path: Path | None = Field(default=None, validation_alias=_named("ARTIFACTS_PATH", "artifacts_path"))
    s3_bucket: str | None = Field(default=None, validation_alias=_named("S3_BUCKET", "s3_bucket"))
    s3_endpoint: str | None = None

    api_host: str = Field(default="127.0.0.1", validation_alias=_named("API_HOST", "api_host"))
    api_port: Annotated[int, Field(ge=1, le=65535)] = Field(default=8000, validation_alias=_named("API_PORT", "api_port"))
    api_replicas: Annotated[int, Field(ge=1)] = 1
    allowed_hosts: list[str] = ["localhost", "127.0.0.1", "[::1]"]
    """Values of the Host header that are answered; `*` answers all."""
    cors_origins: list[str] = []
    docs_public: bool = True
    """Whether /docs and /openapi.json need no key."""
    secret_key: SecretStr | None = Field(default=None, validation_alias=_named("SECRET_KEY", "secret_key"))
    """Encrypts stored secrets: 32 characters or more, or several such keys with commas between them: the first encrypts, all decrypt.
    Without it a key is made once in `home`, which only one machine can read."""

    run_mode: Literal["live", "simulated"] = "simulated"
    """The mode of runs that do not say: `simulated` needs no model, no key and no network."""
    openai_api_key: SecretStr | None = Field(default=None, validation_alias=_named("OPENAI_API_KEY", "openai_api_key"))
    openai_base_url: str | None = Field(default=None, validation_alias=_named("OPENAI_BASE_URL", "openai_base_url"))
    openai_compatible_api_key: SecretStr | None = Field(default=None, validation_alias=_named("OPENAI_COMPATIBLE_API_KEY", "openai_compatible_api_key"))
    openai_compatible_base_url: str | None = Field(default=None, validation_alias=_named("OPENAI_COMPATIBLE_BASE_URL", "openai_compatible_base_url"))
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias=_named("ANTHROPIC_API_KEY", "anthropic_api_key"))
    anthropic_base_url: str | None = Field(default=None, validation_alias=_named("ANTHROPIC_BASE_URL", "anthropic_base_url"))
    google_api_key: SecretStr | None = Field(default=None, validation_alias=_named("GOOGLE_API_KEY", "GEMINI_API_KEY", "google_api_key"))
    google_base_url: str | None = Field(default=None, validation_alias=_named("GOOGLE_GEMINI_BASE_URL", "google_base_url"))
    bedrock_api_key: SecretStr | None = Field(default=None, validation_alias=_named("AWS_BEARER_TOKEN_BEDROCK", "bedrock_api_key"))
    bedrock_base_url: str | None = Field(default=None, validation_alias=_named("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "bedrock_base_url"))
    """Has no default: every region has an address of its own."""
    python_modules: list[str] = ["examples", "bench"]
    """Modules (and what is below them) that `python` steps and tools may call. Everything else is refused."""
    code_steps: bool = False
    """Whether `code` steps may run. Their programs reach nothing, but they are programs that whoever may publish a workflow brings along."""
    outbound_allow: list[str] = []
    """`host`, `host:port`, or CIDR that http steps and tools may reach although it is not a public address; tools also without TLS."""

    provider_limits: dict[ProviderName, ProviderLimits] = {}
    """How much each key of a provider may be asked, by the provider's name; of several limits of one key the lowest counts."""
    call_cache_max_bytes: Annotated[int, Field(ge=0)] = 256 * 2**20
    """What kept answers of models may take in the database; the oldest go first."""

    apis: dict[SourceName, Api] = {}
    """HTTP APIs that agents may use as tools, by name."""
    mcp_servers: dict[SourceName, McpServer] = {}
    """MCP servers whose tools agents may use, by name."""

    lease_ms: Annotated[int, Field(ge=200)] = 3000
    """How long an owner may be silent before others take its runs."""
    runs_per_actor: Annotated[int, Field(ge=1)] = 1000
    workflow_actors_min: Annotated[int, Field(ge=1)] = 1
    workflow_actors_max: int | None = None
    """Bounded by memory when absent."""
    agent_actors_min: Annotated[int, Field(ge=1)] = 1
    agent_actors_max: int | None = None
    steps_per_agent_actor: Annotated[int, Field(ge=1)] = 10_000
    passivate_after_ms: int = 5000
    """A run that waits longer than this gives its place in memory up."""
    drain_ms: int = 30_000

    max_definition_bytes: int = 2**20
    max_input_bytes: int = 10 * 2**20
    max_output_bytes: int = 64 * 2**20
    """Of one step; larger outputs fail it with `output_too_large`."""
    max_queued_runs: int = 100_000
    """Beyond this many runs that have not ended, new ones are refused with 429."""
    retention: Retention = Retention()
    """What is older goes with all that belongs to it, unless its definition says otherwise."""
    retention_max_bytes: Annotated[int, Field(ge=2**20)] | None = None
    """A database that holds more than this loses its oldest ended runs first, however young, but for states that are kept for ever."""
    artifact_grace_hours: Annotated[float, Field(ge=1)] = 24
    """How long content that no run refers to stays, twice: before it is set aside, and before it goes for good."""
    conversation_days: Days | None = 90
    """How long a conversation stays after what was last said in it; null: for ever."""
    ledger_days: Annotated[float, Field(ge=LEAST_LEDGER_DAYS)] | None = 400
    """How long the ledger keeps a model call, also when its run is gone; null: for ever. At least a month, which budgets are counted from."""
    hook_requests_per_minute: Annotated[int, Field(ge=1)] = 600
    """Of one hook, counted in each API process by itself; beyond it 429."""
    idempotency_hours: Annotated[int, Field(ge=24)] = 48
    otel_endpoint: str | None = Field(default=None, validation_alias=_named("OTEL_EXPORTER_OTLP_ENDPOINT", "otel_endpoint"))
    """Where traces go, by OTLP over HTTP (`http://collector:4318`); nothing is traced when absent. Needs the extra `otel`."""
    otel_headers: SecretStr | None = Field(default=None, validation_alias=_named("OTEL_EXPORTER_OTLP_HEADERS", "otel_headers"))
    """What the collector wants to be told: `name=value`, several with commas between them."""
    otel_capture_content: bool = Field(default=False, validation_alias=_named("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "otel_capture_content"))
    """Whether prompts, answers and arguments of tools stand in traces, at most 4096 characters of each."""
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if any(len(key) < 32 for key in value.get_secret_value().split(",")):
            raise ValueError("SECRET_KEY must have at least 32 characters, each key of a list as many")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get("AGENTIC_CONFIG")
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        return (*sources, YamlConfigSettingsSource(settings_cls, yaml_file=file)) if file else sources

    @classmethod
    def secrets(cls) -> tuple[str, ...]:
        """Names of the settings that are secrets."""
        return tuple(name for name, field in cls.model_fields.items() if SecretStr in (field.annotation, *get_args(field.annotation)))

    @classmethod
    def variables(cls, names: Iterable[str] | None = None) -> frozenset[str]:
        """The environment variables these settings are read from; of all settings, as far as they are not `AGENTIC_` and the setting's name."""
        aliases = [cls.model_fields[name].validation_alias for name in (cls.model_fields if names is None else names)]
        choices = [choice for alias in aliases if isinstance(alias, AliasChoices) for choice in alias.choices]
        return frozenset(choice for choice in choices if isinstance(choice, str) and choice.isupper())

    @property
    def database(self) -> str:
        """The URL to connect to, password included; the only place where it is put together."""
        if self.database_url is None:
            return f"sqlite:///{(self.home / 'db' / 'workflows.db').absolute()}"
        if self.database_password_file is None:
            return self.database_url
        scheme, rest = self.database_url.split("://", 1)
        user, at, host = rest.partition("@")
        return f"{scheme}://{user}:{self.database_password_file.read_text().strip()}{at}{host}"

    @property
    def artifacts(self) -> Path:
        """The folder of the local artifact store."""
        return (self.artifacts_path or self.home / "artifacts").absolute()
