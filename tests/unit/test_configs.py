"""Every file in configs/ is loaded by the code that reads it in earnest, and a key nobody knows is an error."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.schema import ServeDeploySchema

from actors.environment import settings_document, settings_file
from runtime.settings import Settings

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "API_HOST", "API_PORT", "AGENTIC_HOME", "ARTIFACTS_STORAGE", "S3_BUCKET"):
        monkeypatch.delenv(name, raising=False)


def settings_from(path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AGENTIC_CONFIG", str(path))
    return Settings()


def test_every_config_is_covered() -> None:
    assert sorted(path.name for path in CONFIGS.iterdir()) == ["local.yaml", "production.yaml", "serve.yaml"]


def test_local_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_from(CONFIGS / "local.yaml", monkeypatch)
    assert settings.run_mode == "simulated"
    assert settings.database.startswith("sqlite:///")
    assert settings.api_host == "127.0.0.1"


def test_production_names_its_services(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_from(CONFIGS / "production.yaml", monkeypatch)
    assert settings.run_mode == "live"
    assert settings.artifacts_storage == "s3"
    assert settings.database_password_file is not None
    assert settings.durability == "full"


@pytest.mark.parametrize("name", ["local.yaml", "production.yaml"])
def test_an_unknown_key_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = tmp_path / name
    spoiled.write_text((CONFIGS / name).read_text() + "\nrun_modes: live\n")
    with pytest.raises(ValidationError, match="run_modes"):
        settings_from(spoiled, monkeypatch)


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "8123")
    assert settings_from(CONFIGS / "production.yaml", monkeypatch).api_port == 8123


def test_settings_reach_the_cluster_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process has is what all processes of its cluster read back, secrets included, and nobody else can read the file."""
    given = Settings(home=tmp_path, api_port=9001, secret_key="k" * 40, python_modules=["a.b"], outbound_allow=["10.0.0.0/8"])
    file = tmp_path / "settings.yaml"
    settings_file(given, file)
    assert settings_from(file, monkeypatch) == given
    assert file.stat().st_mode & 0o777 == 0o600
    assert "k" * 40 in settings_document(given).values()


def unknown_keys(given: Any, model: type[BaseModel], path: str = "") -> list[str]:
    """Keys of `given` that the schema does not have, at any depth."""
    found = []
    for key, value in given.items():
        field = model.model_fields.get(key)
        if field is None:
            found.append(f"{path}/{key}")
            continue
        nested = _models(field.annotation)
        for part in value if isinstance(value, list) else [value]:
            if nested and isinstance(part, dict):
                found += unknown_keys(part, nested[0], f"{path}/{key}")
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def test_serve_config_is_valid_and_names_only_what_serve_knows() -> None:
    given = yaml.safe_load((CONFIGS / "serve.yaml").read_text())
    schema = ServeDeploySchema.model_validate(given)
    assert unknown_keys(given, ServeDeploySchema) == []
    assert schema.applications[0].import_path == "serve_app:app"
    assert schema.applications[0].deployments[0].max_ongoing_requests == 10_000


@pytest.mark.parametrize("path", [(), ("http_options",), ("applications", 0), ("applications", 0, "deployments", 0)])
def test_an_unknown_key_of_serve_is_found_at_every_level(path: tuple[str | int, ...]) -> None:
    given = yaml.safe_load((CONFIGS / "serve.yaml").read_text())
    place = given
    for step in path:
        place = place[step]
    place["no_such_option"] = 1
    assert [found.rsplit("/", 1)[1] for found in unknown_keys(given, ServeDeploySchema)] == ["no_such_option"]
