"""The walls around the container, as far as files can show them; deploy/docker/try.sh looks at the running one."""

import re
from pathlib import Path

import pytest
import yaml

from runtime.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(COMPOSE)["services"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_its_walls(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) >= 10_000
    assert service["mem_limit"]
    assert service["pids_limit"] > 0
    assert service["logging"]["options"]["max-size"]
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "cap_add", "env_file"} & service.keys()


def test_ports_are_published_on_loopback_alone():
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port
            assert port.endswith(":8000"), "Ray's ports are never published"


def test_no_secret_travels_in_the_environment():
    for service in SERVICES.values():
        for name in service["environment"]:
            assert not re.search(r"KEY|SECRET|PASSWORD|TOKEN", name), name


def test_nothing_of_the_host_is_mounted():
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            assert mount.split(":")[0] in yaml.safe_load(COMPOSE)["volumes"], mount


def test_the_example_environment_names_every_variable():
    used = set(re.findall(r"\$\{(\w+)", COMPOSE)) - {"AGENTIC_IMAGE"}
    offered = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert offered == used


def test_variables_set_for_the_container_are_settings():
    known = {f"AGENTIC_{name.upper()}" for name in Settings.model_fields} | {"API_HOST", "API_PORT", "AGENTIC_CONFIG"}
    ours = set(re.findall(r"\b(AGENTIC_\w+|API_\w+)=", DOCKERFILE)) | set(SERVICES["api"]["environment"])
    assert ours <= known


def test_the_image_runs_as_a_user_and_is_watched():
    final = DOCKERFILE.split("\nFROM ")[-1]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    assert "/build" not in final, "the tools of the build stage must stay there"
    assert len(re.findall(r"^FROM \$\{BASE_IMAGE\}", DOCKERFILE, re.MULTILINE)) == 2


def test_every_package_of_the_image_is_checked_by_its_hash():
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert len(installs) == 3


def test_only_what_the_image_needs_is_sent_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert sent == {
        ".ci/bootstrap.lock",
        "requirements.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "serve_app.py",
        "runtime",
        "actors",
        "configs",
        "examples",
    }
