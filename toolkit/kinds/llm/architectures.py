"""Recognizes language models, and those that a version of vLLM does not load."""

from toolkit.engine_arguments import Engine
from toolkit.kinds.files import Files
from toolkit.names import nearest

_CAUSAL = ("ForCausalLM", "LMHeadModel")
_WITH_IMAGES = "ForConditionalGeneration"
"""Also the ending of encoder-decoders, which `Files.translates` tells apart."""


def writes_text(files: Files, engine: Engine | None) -> bool:
    """Whether it is a decoder of text; `engine` knows some by name."""
    if files.pools or files.classifies or files.translates:
        return False
    named = engine is not None and not engine.generates.isdisjoint(files.architectures)
    return named or files.saved_as(*_CAUSAL, _WITH_IMAGES)


def not_loaded(files: Files, engine: Engine) -> tuple[str, str] | None:
    """The kind of weights that `engine` does not load, and a remedy; None if it may load them."""
    if not files.architectures:
        return None
    name = files.architectures[0]
    if (last := engine.dropped.get(name)) is not None:
        since = f"; {last} was the last version that did" if last else ""
        text = f"a {name}, which vLLM {engine.version} does not load{since}"
        return text, "choose another model, or a target with an older vLLM"
    # others may be loaded with transformers' own code, or the model's
    if name in engine.generates or name.endswith(_CAUSAL) or "auto_map" in files.config:
        return None
    text = f"a {name}, which vLLM {engine.version} does not load"
    return text, nearest(name, sorted(engine.generates))
