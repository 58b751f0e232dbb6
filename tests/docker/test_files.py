"""What can be said of docker/ without building anything."""

import ast
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.processes import ROOT

DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
COMPOSE = YAML(typ="safe").load(ROOT / "docker" / "compose.yaml")


def test_images_are_run_by_nobody_from_pinned_parts() -> None:
    assert [path.name.split(".")[0] for path in DOCKERFILES] == ["cpu", "frontend", "triton"]
    for path in DOCKERFILES:
        lines = path.read_text().splitlines()
        assert "USER 10001:10001" in lines, path
        assert any(line.startswith("HEALTHCHECK") for line in lines), path
        assert any(line.startswith("ARG BASE=") and ":latest" not in line for line in lines), path
        assert "--require-hashes" in path.read_text(), path


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_compose_starts_one_triton_and_the_gateway(profile: str) -> None:
    services = {
        name: service
        for name, service in COMPOSE["services"].items()
        if profile in service["profiles"]
    }
    assert set(services) == {f"triton-{profile}", "frontend"}
    for service in services.values():
        assert (ROOT / service["build"]["dockerfile"]).exists()
        assert service["read_only"] is True
    triton = services[f"triton-{profile}"]
    assert "ports" not in triton, "nobody gets past the gateway"
    assert set(triton["networks"]) == {"inside"}
    assert services["frontend"]["ports"] == ["127.0.0.1:9000:9000"]


def test_the_gateways_pins_are_the_projects() -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line.split(" ")[0] for line in path.read_text().splitlines() if "==" in line]
        return dict(line.split("==", 1) for line in lines)

    everything = pins(ROOT / "requirements" / "base.lock")
    gateway = pins(ROOT / "docker" / "frontend.lock")
    assert gateway
    assert {name: everything[name] for name in gateway} == gateway


def test_the_entry_point_refuses_what_was_built_for_another_server(tmp_path: Path) -> None:
    (tmp_path / "repository.json").write_text('{"target": "embedded"}')
    environment = {
        "PATH": "/usr/bin:/bin",
        "TRITON_TOOLKIT_TARGET": "container:26.08",
        "TRITON_TOOLKIT_REPOSITORY": str(tmp_path),
    }
    entry = str(ROOT / "docker" / "entrypoint.sh")
    refused = _run(entry, environment)
    assert refused.returncode == 2
    assert "built for the target 'embedded'" in refused.stderr
    assert "toolkit build-repo --target container:26.08" in refused.stderr
    (tmp_path / "repository.json").unlink()
    refused = _run(entry, environment)
    assert refused.returncode == 2
    assert "holds no models" in refused.stderr


def test_the_gateways_image_has_all_that_the_gateway_imports() -> None:
    owners = packages_distributions()
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]  # type: ignore[union-attr]
        for path in (ROOT / "frontend").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    foreign = imported - set(sys.stdlib_module_names) - {"frontend"}
    lock = (ROOT / "docker" / "frontend.lock").read_text().lower()
    for name in foreign:
        assert any(f"{owner.lower().replace('_', '-')}==" in lock for owner in owners[name]), name


def _run(entry: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([entry], check=False, env=environment, capture_output=True, text=True)
