"""Recognizes the kind of a model from its files, and checks that an entry's kind fits.

This is the only place that decides it: for a build, for `toolkit run MODEL` and for `toolkit
convert`. Each kind recognizes its own weights. Reads config.json and the names of files, no tensor.
"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.engine_arguments import Engine
from toolkit.errors import SourceError
from toolkit.kinds import all_kinds
from toolkit.kinds.files import Files, read_files

Refusal = tuple[str, str]
"""What the weights are, and what to do."""
_GGUF_ENCODERS = ("bert", "nomic-bert", "jina-bert-v2", "t5", "clip")


@dataclass(frozen=True, slots=True)
class Weights:
    """`kind` is one of the toolkit's, or "" for weights that cannot be served or that do not say
    what they are. `what` are words for messages, "" if nothing is known; `fix` says what to do
    instead. Not `certain`: that kind can serve them, but nothing says that they were trained for
    it."""

    kind: str = ""
    what: str = ""
    fix: str = ""
    certain: bool = False


def classify(files: Files, engine: Engine | None = None) -> Weights:
    """The kind of a checkpoint's `files`; `engine` lists architectures by name."""
    for kind in all_kinds().values():
        if kind.recognizes(files, engine):
            return Weights(kind.name, _named(kind.weights, files), certain=True)
    if other := _other(files):
        return other
    for kind in all_kinds().values():
        if kind.accepts(files, engine):
            return Weights(kind.name, _named(kind.weights, files))
    return Weights()


def classify_gguf(architecture: str) -> Weights:
    """The kind of a GGUF file of this architecture."""
    if architecture in _GGUF_ENCODERS:
        what = f"a model of the architecture {architecture} in a GGUF file"
        return Weights("", what, "use the model's safetensors: hf:ORG/NAME")
    kind = next(each for each in all_kinds().values() if each.reads_gguf)
    return Weights(kind.name, kind.weights, certain=True)


def refusal(kind: str, path: Path, engine: Engine | None) -> Refusal | None:
    """Why `kind` cannot serve the weights at `path`; None if it can, or if they do not say.

    `engine` is the vLLM that would load them, None for weights that it does not load.
    """
    own = all_kinds()[kind]
    if not own.weights:
        return None
    if path.is_file():
        if path.suffix == ".gguf" and not own.reads_gguf:
            fix = "name the original safetensors directory as `source`, or write `kind: llm`"
            return "a GGUF file, which is served as a language model only", fix
        return None
    try:
        files = read_files(path)
    except SourceError:  # the conversion says what is wrong with it
        return None
    found = classify(files, engine)
    if found.what and found.kind != kind:
        return found.what, found.fix or f"write `kind: {found.kind}`"
    return own.not_loaded(files, engine) if engine is not None else None


def _other(files: Files) -> Weights | None:
    """Weights that cannot be served by any kind."""
    if "adapter_config.json" in files.names and "config.json" not in files.names:
        fix = "name its base model as `source` in models.yaml, and this folder below `adapters`"
        return Weights("", _named("a LoRA adapter", files), fix)
    if files.classifies:
        fix = "serve it as `kind: python` with your own model.py"
        return Weights("", _named(f"a classifier with {files.labels} labels", files), fix)
    if files.translates:
        fix = "choose a decoder-only model such as Llama, Qwen or Mistral, or serve it as "
        return Weights("", _named("an encoder-decoder model", files), f"{fix}`kind: python`")
    return None


def _named(words: str, files: Files) -> str:
    return f"{words} ({files.architectures[0]})" if files.architectures else words
