"""The Hugging Face Hub: a model's files, or only what they say about themselves.

Imported only for `hf:` sources. The endpoint and the cache are the library's own settings (HF_*).
"""

import glob
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from toolkit.errors import SourceError
from toolkit.progress import Progress
from toolkit.spec import HubSource

FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.gguf"]
"""No pickles: they run code when they are loaded."""
_FAULTS = (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError)


@dataclass(frozen=True, slots=True)
class About:
    """config.json, and how many numbers of each type the safetensors hold, if the Hub knows."""

    config: Mapping[str, Any]
    numbers: Mapping[str, int]


def cached(source: HubSource) -> Path | None:
    """The folder of `source` if its weights are all in the Hub's cache."""
    try:
        folder = Path(
            snapshot_download(source.repository, revision=source.revision, local_files_only=True)
        )
    except _FAULTS:
        return None
    index = folder / "model.safetensors.index.json"
    wanted = {"model.safetensors"}
    if index.exists():
        wanted = set(json.loads(index.read_text()).get("weight_map", {}).values())
    return folder if all((folder / name).exists() for name in wanted) else None


def describe(source: HubSource, *, offline: bool = False) -> About:
    """Asks the Hub for a few kilobytes, or looks into its cache. Raises SourceError."""
    name, revision = source.repository, source.revision
    kept = try_to_load_from_cache(name, "config.json", revision=revision)
    try:
        if offline and not isinstance(kept, str):
            raise OSError("it is not in the cache, and --offline fetches nothing")
        file = kept if offline else hf_hub_download(name, "config.json", revision=revision)
        found = None if offline else HfApi().model_info(name, revision=revision).safetensors
        config = json.loads(Path(str(file)).read_text())
    except (*_FAULTS, ValueError) as error:
        raise _refusal(source, error) from error
    return About(config, dict(found.parameters) if found else {})


def download(source: HubSource, progress: Progress) -> Path:
    """The folder, or the one file, of `source` in the Hub's own cache. Raises SourceError."""
    wanted = [glob.escape(source.file)] if source.file else FILES
    with progress.step(f"download {source}", unit="files"):
        try:
            kept = snapshot_download(
                source.repository, revision=source.revision, allow_patterns=wanted
            )
        except _FAULTS as error:
            raise _refusal(source, error) from error
    return Path(kept, source.file) if source.file else Path(kept)


def _refusal(source: HubSource, error: Exception) -> SourceError:
    reason = str(error).strip().splitlines()[0]
    return SourceError(
        f"{source} cannot be downloaded: {reason}",
        hint="check the name, the network, and HF_TOKEN for a private repository",
    )
