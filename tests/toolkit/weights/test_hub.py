"""`hf:` sources, through the real client library, from a Hub on loopback."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import COMMIT, serve_model
from tests.support.web import Web

WEIGHTS = os.urandom(2_000_000)
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "sub/part.safetensors": WEIGHTS[:1000],
    "pytorch_model.bin": b"pickle",
    "README.md": b"words",
}
# a process of its own, as the library reads HF_ENDPOINT when it is imported
FETCH = """
import json, sys
from pathlib import Path
from toolkit.errors import ToolkitError
from toolkit.progress import silent
from toolkit.spec import HubSource
from toolkit.weights.fetch import fetch
try:
    source = HubSource("org/name", sys.argv[1] or None)
    found = fetch(source, Path(), silent, allow_pickle="pickle" in sys.argv)
    names = sorted(str(p.relative_to(found.path)) for p in found.path.rglob("*") if p.is_file())
    print(json.dumps({"path": str(found.path), "digest": found.digest, "names": names}))
except ToolkitError as error:
    print(json.dumps({"error": error.message, "hint": error.hint}))
"""


@pytest.fixture
def environment(web: Web, tmp_path: Path, own_home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {
        "HF_ENDPOINT": web.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_secret",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRITON_TOOLKIT_HOME": str(own_home),
    }


def fetch(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-c", FETCH, *(arguments or ("",))],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def test_a_model_comes_without_pickles_and_is_kept(web: Web, environment: dict[str, str]) -> None:
    serve_model(web, "org/name", FILES)
    told = fetch(environment)
    assert told["names"] == [
        "config.json",
        "model.safetensors",
        "sub/part.safetensors",
        "tokenizer.json",
    ]
    assert Path(told["path"], "model.safetensors").read_bytes() == WEIGHTS
    headers = [head for path, head in web.requests if path.endswith("/model.safetensors")]
    assert [head["Authorization"] for head in headers] == ["Bearer hf_secret"]
    assert fetch(environment) == told
    assert len(web.asked(f"/org/name/resolve/{COMMIT}/model.safetensors")) == 1
    web.files.clear()
    assert fetch(environment) == told, "what is here needs no Hub"


def test_pickles_only_when_they_are_allowed(web: Web, environment: dict[str, str]) -> None:
    serve_model(web, "org/name", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    told = fetch(environment)
    assert "only as pickles (pytorch_model.bin)" in told["error"]
    assert "--allow-pickle" in told["hint"]
    assert "pytorch_model.bin" in fetch(environment, "", "pickle")["names"]


def test_a_corrupted_file_is_not_taken(
    web: Web, environment: dict[str, str], own_home: Path
) -> None:
    serve_model(web, "org/name", FILES)
    place = f"/org/name/resolve/{COMMIT}/model.safetensors"
    web.files[place] = b"\0" * len(WEIGHTS)
    assert "SHA-256 digest" in fetch(environment)["error"]
    assert not list((own_home / "sources").glob("[!.]*"))
    web.files[place] = WEIGHTS
    assert "digest" in fetch(environment)


def test_names_that_leave_the_folder_are_refused(web: Web, environment: dict[str, str]) -> None:
    serve_model(web, "org/name", FILES | {"../../evil.json": b"{}"})
    assert "is outside its folder" in fetch(environment)["error"]


def test_what_is_not_there_is_said(web: Web, environment: dict[str, str]) -> None:
    told = fetch(environment)
    assert told["error"] == (
        "hf:org/name cannot be downloaded: the repository does not exist or is private"
    )
    assert "HF_TOKEN" in told["hint"]
    serve_model(web, "org/name", {"README.md": b"words"})
    assert fetch(environment)["error"] == "hf:org/name does not contain weights"


def test_a_plan_needs_the_config_alone(
    web: Web, environment: dict[str, str], tmp_path: Path
) -> None:
    config = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    config |= {"vocab_size": 1000, "max_position_embeddings": 512}
    serve_model(web, "org/name", FILES | {"config.json": json.dumps(config).encode()})
    about = json.loads(web.files["/api/models/org/name"])
    about["safetensors"] = {"parameters": {"BF16": 1_000_000}, "total": 1_000_000}
    web.files["/api/models/org/name"] = json.dumps(about).encode()
    web.files["/org/name/resolve/main/config.json"] = json.dumps(config).encode()
    web.headers["/org/name/resolve/main/config.json"] = {"X-Repo-Commit": COMMIT, "ETag": '"e"'}
    spec = tmp_path / "models.yaml"
    spec.write_text(
        "version: 1\nmodels:\n  a:\n    kind: llm\n    source: hf:org/name\n"
        "    context_length: 256\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "toolkit", "fit", str(spec), "--json", "--gpus", "l4"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    (model,) = json.loads(ran.stdout)["models"]
    assert model["weights_bytes"] == 2_000_000
    assert not web.asked(f"/org/name/resolve/{COMMIT}/model.safetensors")


def test_no_pickle_is_among_the_files_that_a_build_takes() -> None:
    hub = import_module("toolkit.weights.hub")
    assert not set(hub.PICKLES) & set(hub.FILES)


def test_settings_are_checked_before_the_weights_are_downloaded(
    web: Web, environment: dict[str, str]
) -> None:
    serve_model(web, "org/name", FILES | {"config.json": b'{"architectures": ["BertModel"]}'})
    code = FETCH.replace("silent, allow", "silent, check=check, allow").replace(
        "try:\n",
        "def check(folder):\n"
        "    names = sorted(path.name for path in folder.iterdir())\n"
        "    raise ToolkitError(', '.join(names))\n"
        "try:\n",
        1,
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, ""],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert json.loads(ran.stdout)["error"] == "config.json"
    assert not [path for path, _ in web.requests if path.endswith(".safetensors")]


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        (["config.json", "model-00001-of-00002.safetensors", "consolidated.safetensors"], [2]),
        (["config.json", "model.safetensors", "original/model.safetensors"], [2]),
        (["config.json", "consolidated.safetensors", "tokenizer.json"], []),
        (["modules.json", "model.safetensors", "2_Dense/model.safetensors"], []),
        (
            [
                "model_index.json",
                "unet/diffusion_pytorch_model.safetensors",
                "unet/diffusion_pytorch_model.fp16.safetensors",
                "vae/diffusion_pytorch_model.fp16.safetensors",
                "safety_checker/model.safetensors",
                "v1-5-pruned.safetensors",
                "tokenizer/vocab.json",
            ],
            [2, 4, 5],
        ),
    ],
)
def test_second_copies_of_weights_are_not_downloaded(names: list[str], left_out: list[int]) -> None:
    hub = import_module("toolkit.weights.hub")
    expected = {name for number, name in enumerate(names) if number not in left_out}
    assert hub.without_copies(set(names)) == expected
