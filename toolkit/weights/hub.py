"""The Hugging Face Hub: a model's files, or only what they say about themselves.

The library finds files, names and credentials (HF_ENDPOINT, HF_TOKEN); the bytes come through
`toolkit.download`, which resumes and checks them. Imported only for `hf:` sources.
"""

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from httpx import TransportError
from huggingface_hub import (
    HfApi,
    constants,
    get_token,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoSibling

from toolkit.download import Remote
from toolkit.errors import SourceError
from toolkit.kinds.files import MODULES, Files, module_types
from toolkit.spec import HubSource
from toolkit.weights.gguf_shards import shard_names

FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.gguf")
"""No pickles: they run code when they are loaded."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_COPIES = re.compile(r"consolidated[\w.-]*\.safetensors|(?:original|metal|onnx|openvino)/")
_VARIANT = re.compile(r"\.(?:fp16|bf16|non_ema)(?=\.|-)")
_FAULTS = (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, TransportError, OSError)


@dataclass(frozen=True, slots=True)
class About:
    """config.json, and how many numbers of each type the safetensors hold, if the Hub knows."""

    config: Mapping[str, Any]
    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository at one commit: its files by name."""

    commit: str
    files: Mapping[str, Remote]


def endpoint() -> str:
    """Which Hub is asked."""
    return str(constants.ENDPOINT)


def cached(source: HubSource) -> Path | None:
    """The folder, or the one file, of `source` if its weights are in the Hub library's cache."""
    if source.file is not None:
        parts = {
            name: try_to_load_from_cache(source.repository, name, revision=source.revision)
            for name in shard_names(source.file)
        }
        # None is "not in the cache", and a sentinel object "known not to exist on the Hub"
        if not all(isinstance(part, str) for part in parts.values()):
            return None
        return Path(str(parts[source.file]))
    try:
        folder = Path(
            snapshot_download(source.repository, revision=source.revision, local_files_only=True)
        )
    except _FAULTS:
        return None
    # snapshot_download returns the folder of a commit even if a program fetched one file of it
    index = folder / "model.safetensors.index.json"
    files = {"model.safetensors"}
    if index.exists():
        files = set(json.loads(index.read_text()).get("weight_map", {}).values())
    return folder if all((folder / name).exists() for name in files) else None


def describe(source: HubSource, *, offline: bool = False) -> About:
    """Fetches a few kilobytes from the Hub, or reads them from its cache. Raises SourceError if
    neither has them."""
    name, revision = source.repository, source.revision
    kept = try_to_load_from_cache(name, "config.json", revision=revision)
    try:
        if offline and not isinstance(kept, str):
            raise OSError("it is not in the cache, and --offline does not download anything")
        file = kept if offline else hf_hub_download(name, "config.json", revision=revision)
        weights = None if offline else HfApi().model_info(name, revision=revision).safetensors
        config = json.loads(Path(str(file)).read_text())
    except (*_FAULTS, ValueError) as error:
        raise _refusal(source, error) from error
    return About(config, dict(weights.parameters) if weights else {})


def look(source: HubSource) -> Files:
    """The names of all files, config.json and modules.json. Raises SourceError if the Hub does not
    have the model or does not answer."""
    name, revision = source.repository, source.revision
    try:
        info = HfApi().model_info(name, revision=revision)
        names = [each.rfilename for each in info.siblings or []]
        nested = [each for each in names if re.fullmatch(r"\d+_Transformer/config\.json", each)]
        # sentence-transformers may keep the transformer's own config in `0_Transformer`
        file = next((each for each in ("config.json", *nested) if each in names), None)
        small = {
            each: json.loads(Path(hf_hub_download(name, each, revision=info.sha)).read_text())
            for each in (file, MODULES)
            if each in names
        }
    except (*_FAULTS, ValueError) as error:
        raise _refusal(source, error) from error
    config = small.get(file or "")
    types = module_types(small.get(MODULES))
    return Files(names, config if isinstance(config, dict) else {}, types)


def snapshot(source: HubSource, *, allow_pickle: bool = False) -> Snapshot:
    """The files that a build needs, with their digests. Raises SourceError if the Hub does not have
    the model, does not answer, or has only pickles."""
    try:
        # files_metadata: without it there are neither sizes nor digests
        info = HfApi().model_info(source.repository, revision=source.revision, files_metadata=True)
    except _FAULTS as error:
        raise _refusal(source, error) from error
    patterns = FILES + PICKLES if allow_pickle else FILES
    siblings = [each for each in info.siblings or [] if _matches(each.rfilename, patterns)]
    if source.file is not None:
        parts = shard_names(source.file)
        siblings = [each for each in siblings if each.rfilename in parts]
        if source.file not in {each.rfilename for each in siblings}:
            raise SourceError(f"{source.repository} does not contain '{source.file}'")
    elif not any(_matches(each.rfilename, ("*.safetensors", "*.gguf")) for each in siblings):
        _refuse_pickles(source, info, allow_pickle)
    else:
        needed = without_copies({each.rfilename for each in siblings})
        siblings = [each for each in siblings if each.rfilename in needed]
    # by commit from here on: the branch may move while files come
    commit = str(info.sha)
    headers = {"Authorization": f"Bearer {token}"} if (token := get_token()) else {}
    return Snapshot(
        commit, {_safe(each, source): _remote(source, each, commit, headers) for each in siblings}
    )


def without_copies(names: Set[str]) -> set[str]:
    """The files without second copies of the same weights, which a build does not read.

    Pipelines come with single-file checkpoints and 16 bit variants, Mistral's models with
    `consolidated.safetensors`, gpt-oss with folders for other programs.
    """
    if "model_index.json" in names:
        return {name for name in names if _of_pipeline(name, names)}
    if not any(re.fullmatch(r"model[\w.-]*\.safetensors", name) for name in names):
        return set(names)
    return {name for name in names if not _COPIES.match(name)}


def _of_pipeline(name: str, names: Set[str]) -> bool:
    """Whether a pipeline reads this file: not a variant beside the file it is a variant of."""
    if not name.endswith(".safetensors"):
        return True
    plain = _VARIANT.sub("", name)
    return (
        # a single-file checkpoint at the top repeats the weights that the folders hold
        "/" in name
        and not name.startswith("safety_checker/")
        and (plain == name or plain not in names)
    )


def _remote(
    source: HubSource, file: RepoSibling, commit: str, headers: Mapping[str, str]
) -> Remote:
    large = file.lfs
    return Remote(
        url=hf_hub_url(source.repository, file.rfilename, revision=commit),
        size=large.size if large else file.size,
        # the Hub knows SHA-256 of large files, and of small ones only their name in git
        sha256=large.sha256 if large else None,
        git_sha1=None if large else file.blob_id,
        headers=headers,
    )


def _safe(file: RepoSibling, source: HubSource) -> str:
    # another server than the Hub may answer (HF_ENDPOINT), and names become paths
    path = PurePosixPath(file.rfilename)
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(f"{source} contains '{file.rfilename}', which is outside its folder")
    return str(path)


def _refuse_pickles(source: HubSource, info: ModelInfo, allowed: bool) -> None:
    pickles = [each.rfilename for each in info.siblings or [] if _matches(each.rfilename, PICKLES)]
    if pickles and not allowed:
        raise SourceError(
            f"{source} contains its weights only as pickles ({', '.join(sorted(pickles)[:3])})",
            hint="a pickle runs code when it is loaded: use a repository with safetensors, or "
            "run toolkit pull --allow-pickle if you trust its author",
        )
    if not pickles:
        raise SourceError(
            f"{source} does not contain weights", hint="check the name and the revision"
        )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _refusal(source: HubSource, error: Exception) -> SourceError:
    match error:
        case GatedRepoError():
            reason = "its license must be accepted on the Hugging Face Hub first"
        case RevisionNotFoundError():
            reason = f"it has no revision '{source.revision}'"
        case HfHubHTTPError() if error.response.status_code in (401, 404):
            reason = "the repository does not exist or is private"
        case HfHubHTTPError():
            reason = f"the server answered {error.response.status_code}"
        case _:
            reason = str(error).strip().splitlines()[0]
    return SourceError(
        f"{source} cannot be downloaded: {reason}",
        hint="check the name, the network, and HF_TOKEN for a private repository",
    )
