"""Entries are listed with size, age and users; only unused ones are deleted."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.checkpoint import save_spec
from toolkit.atomic import locked
from toolkit.building import build
from toolkit.building.quantization import quantized_place
from toolkit.caching import Entry, list_entries, parse_age, prune
from toolkit.cli import app
from toolkit.download import Remote
from toolkit.errors import SourceError, UsageError
from toolkit.home import home
from toolkit.progress import silent
from toolkit.spec import ObjectSource, PackageSource, Spec, load
from toolkit.targets import find_target
from toolkit.weights import sources
from toolkit.weights.digest import text_digest
from toolkit.weights.fetch import identity
from toolkit.weights.sources import place_of, record

pytestmark = pytest.mark.usefixtures("own_home")
runner = CliRunner()


def entries(spec: Spec | None = None) -> dict[str, Entry]:
    return {entry.kind: entry for entry in list_entries(spec)}


def stray(kind: str, name: str, idle_s: int = 0) -> Path:
    """An unused entry."""
    folder = home() / kind / name
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * 10_000)
    then = time.time() - idle_s
    os.utime(folder, (then, then))
    return folder


def test_entries_have_size_age_and_name() -> None:
    stray("sources", "a" * 32, idle_s=3600)
    entry = entries()["sources"]
    assert entry.name == f"sources/{'a' * 32}"
    assert 10_000 <= entry.size_bytes <= 20_000
    assert entry.as_json()["idle_s"] == pytest.approx(3600, abs=60)
    assert entry.uses == []


def test_a_built_repository_and_its_spec_use_their_weights(tmp_path: Path) -> None:
    spec = load(save_spec(tmp_path, "chat"))
    build(spec, find_target("embedded"), tmp_path / "out")
    entry = entries(spec)["weights"]
    assert entry.uses == ["a repository (hard links)", "model chat"]
    assert entry.about == "llm: engine, prompt"
    assert not prune(list_entries(spec), dry_run=False).removed
    assert entry.path.exists()


def test_a_use_is_noticed(tmp_path: Path) -> None:
    spec = load(save_spec(tmp_path, "chat"))
    build(spec, find_target("embedded"), tmp_path / "out")
    place = entries()["weights"].path
    os.utime(place, (1, 1))
    build(spec, find_target("embedded"), tmp_path / "out")
    assert time.time() - place.stat().st_mtime < 60


def test_what_a_process_runs_from_stays(tmp_path: Path) -> None:
    folder = stray("environments", "onnx-000000000000")
    (folder / "python").symlink_to(sys.executable)
    code = "print(1, flush=True); input()"
    with subprocess.Popen(
        [str(folder / "python"), "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert entries()["environments"].uses == [f"process {process.pid}"]
        assert not prune(list_entries(None), dry_run=False).removed
        process.communicate(b"\n")
    assert prune(list_entries(None), dry_run=False).removed
    assert not folder.exists()


def test_what_is_being_made_stays() -> None:
    folder = stray("sources", "b" * 32)
    lock = folder.parent / f".{folder.name}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = prune(list_entries(None), dry_run=False)
    assert not result.removed
    assert result.kept[0][1] == "it is being created"
    assert folder.exists()


def test_a_download_in_progress_stays() -> None:
    folder = stray("downloads", "c" * 32)
    held: list[str] = []

    def prune_meanwhile(name: str, _: object) -> None:
        held.extend(why for _, why in prune(list_entries(None), dry_run=False).kept)
        raise SourceError(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "downloads_of", lambda _: folder)
        patch.setattr(sources, "download_all", prune_meanwhile)
        with pytest.raises(SourceError):
            sources.keep_files("x", "x", {"file": Remote("https://x.test/x")}, silent)
    assert held == ["it is being created"]
    assert folder.exists()


def test_what_killed_processes_left_is_removed() -> None:
    for name in (".d.removing", ".d.making-x1_y", ".e.making-x2"):
        stray("sources", name)
    whole = stray("sources", "f", idle_s=10)
    with locked(whole.with_name(".e.lock")):
        prune(list_entries(None), older_than_s=3600, dry_run=True)
        assert len(list((home() / "sources").iterdir())) == 5
        prune(list_entries(None), older_than_s=3600, dry_run=False)
    assert sorted(path.name for path in (home() / "sources").iterdir()) == [".e.making-x2", "f"]
    # a prune that was killed between its two steps does not stop the next one
    stray("sources", ".f.removing")
    assert prune(list_entries(None), dry_run=False).removed
    assert not whole.exists()


def test_links_within_the_cache_are_not_a_use_and_others_are(tmp_path: Path) -> None:
    stage, weights = stray("quantized", "1" * 32), stray("weights", "2" * 32)
    os.link(stage / "file", weights / "link")
    assert [entry.uses for entry in list_entries(None)] == [[], []]
    os.link(stage / "file", tmp_path / "link")
    assert entries()["quantized"].uses == ["a directory of toolkit quantize (hard links)"]


def test_quantized_weights_of_a_spec_are_used(tmp_path: Path) -> None:
    spec = load(save_spec(tmp_path, "chat"))
    build(spec, find_target("embedded"), tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    converted = entries(spec)["weights"].path
    place = quantized_place("int8", converted)
    place.mkdir()
    file = tmp_path / "models.yaml"
    file.write_text(file.read_text().replace("source:", "quantization: int8\n    source:"))
    spec = load(file)
    assert {entry.path: entry.uses for entry in list_entries(spec)} == {
        converted: ["model chat"],
        place: ["model chat"],
    }


def test_a_source_of_an_object_store_and_a_pulled_pickle_are_used(tmp_path: Path) -> None:
    from_store, pickled = stray("sources", "3" * 32), stray("sources", "4" * 32)
    other = stray("sources", "5" * 32)
    source = ObjectSource("s3", "bucket", "model")
    record(from_store, from_store / "file", str(source))
    references = home() / "references"
    references.mkdir()
    (references / text_digest(f"object {source}")[:32]).write_text(from_store.name)
    package = PackageSource("a==1", "a/folder")
    pickled.rename(place_of(identity(package, allow_pickle=True)))
    file = tmp_path / "models.yaml"
    file.write_text(
        "version: 1\nmodels:\n"
        f"  one: {{kind: llm, context_length: 64, source: '{source}'}}\n"
        f"  two: {{kind: llm, context_length: 64, source: '{package}'}}\n"
    )
    kept = {entry.path: entry.uses for entry in list_entries(load(file))}
    assert kept[from_store] == ["model one"]
    assert kept[place_of(identity(package, allow_pickle=True))] == ["model two"]
    assert kept[other] == []


def test_age_and_kind_choose_what_goes() -> None:
    old, young = stray("logs", "1", idle_s=90_000), stray("logs", "2")
    other = stray("downloads", "3", idle_s=90_000)
    found = list_entries(None)
    assert len(prune(found, older_than_s=86_400, kinds=["logs"], dry_run=True).removed) == 1
    assert old.exists()
    prune(found, older_than_s=86_400, kinds=["logs"], dry_run=False)
    assert [old.exists(), young.exists(), other.exists()] == [False, True, True]
    assert [parse_age(text) for text in ("30d", "12h", "1w", "5m", "0s")] == [
        2_592_000, 43_200, 604_800, 300, 0,
    ]  # fmt: skip
    for wrong in ("", "d", "3", "-1d", "1y"):
        with pytest.raises(UsageError, match="is not a valid age"):
            parse_age(wrong)


def test_the_command_lists_and_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = stray("logs", "9000", idle_s=90_000)
    told = json.loads(runner.invoke(app, ["cache", "list", "--json"]).stdout)
    assert [entry["name"] for entry in told["entries"]] == ["logs/9000"]
    assert "logs/9000" in runner.invoke(app, ["cache", "list"]).stdout
    dry = runner.invoke(app, ["cache", "prune", "--dry-run"])
    assert dry.stdout.startswith("logs/9000\t")
    assert "would free" in dry.stderr
    assert folder.exists()
    gone = json.loads(runner.invoke(app, ["cache", "prune", "--older-than", "1d", "--json"]).stdout)
    assert [entry["name"] for entry in gone["removed"]] == ["logs/9000"]
    assert not folder.exists()
    wrong = runner.invoke(app, ["cache", "prune", "--kind", "moon"])
    assert isinstance(wrong.exception, UsageError)
