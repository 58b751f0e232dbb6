"""Models of a repository on this machine that are loaded on demand, from their configs on disk."""

import contextlib
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from frontend.domain.models import Model
from frontend.upstreams.triton.models import KEEP_ALIVE, read_model


def read_on_demand(repository: Path) -> list[Model]:
    """Those that say how long they stay; blocks. A config that cannot be read is left out."""
    models = []
    for path in sorted(repository.glob("[!.]*/config.pbtxt")):
        # a file may be half written; it is read again half a minute later
        with contextlib.suppress(OSError, UnicodeDecodeError, text_format.ParseError):
            text = path.read_text()
            # a search is cheap beside parsing, and most models do not have it
            if KEEP_ALIVE in text:
                config = text_format.Parse(text, model_config_pb2.ModelConfig())
                config.name = config.name or path.parent.name
                if served := read_model(config):
                    models.append(served.model)
    return models
