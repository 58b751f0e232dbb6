"""Downloads a model repository of the Hugging Face Hub. Imported only for `hf:` sources."""

import glob
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from toolkit.errors import SourceError
from toolkit.progress import Progress
from toolkit.spec import HubSource

FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.gguf"]
"""No pickles: they run code when they are loaded."""


def download(source: HubSource, progress: Progress) -> Path:
    """The folder, or the one file, of `source` in the Hub's own cache. Raises SourceError."""
    wanted = [glob.escape(source.file)] if source.file else FILES
    with progress.step(f"download {source}", unit="files"):
        try:
            kept = snapshot_download(
                source.repository, revision=source.revision, allow_patterns=wanted
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise SourceError(
                f"{source} cannot be downloaded: {reason}",
                hint="check the name, the network, and HF_TOKEN for a private repository",
            ) from error
    return Path(kept, source.file) if source.file else Path(kept)
