"""Refuses language models with a sliding window, for formats that cannot represent one."""

from typing import Any

from toolkit.errors import ConvertError


def refuse_window(config: Any, what: str) -> None:
    """Raises ConvertError when a layer's window is shorter than the model's context.

    `config` is transformers': a window that is disabled or not used by any layer does not count.
    """
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if not window or window >= config.max_position_embeddings:
        return
    if kinds and "sliding_attention" not in kinds:
        return
    raise ConvertError(
        f"{(config.architectures or ['the model'])[0]} attends to the last {window} tokens only "
        f"(sliding_window), which {what} does not support",
        hint="serve the safetensors with vLLM",
    )
