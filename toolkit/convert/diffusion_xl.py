"""The graphs of Stable Diffusion XL, with the same inputs and outputs as those of Stable Diffusion.

Its second text encoder and the pooled state are part of the text encoder's graph, image sizes part
of the denoiser's: `embeddings` has one row more, the pooled state padded with zeros to a row's
width. So serving a pipeline does not depend on its version.
"""

from typing import Any

import torch

from toolkit.errors import ConvertError


class TextEncoders(torch.nn.Module):
    """INT64 `[B, L]` → FP32 `[B, L + 1, D]`: both encoders' states side by side, and the pooled."""

    def __init__(self, first: Any, second: Any, tokenizers: tuple[Any, Any], zero: bool) -> None:
        super().__init__()
        self._first, self._second = first, second
        self._end = int(tokenizers[0].eos_token_id)
        self._padding = int(tokenizers[1].pad_token_id)
        # the second tokenizer takes its padding ("!") for a special token in prompts, too
        word = f"{tokenizers[1].pad_token}</w>"
        self._word = int(tokenizers[0].get_vocab().get(word, self._padding))
        self._zero = zero

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        end = (input_ids == self._end).long()
        behind = end.cumsum(1) - end > 0  # behind the first end: there each tokenizer pads its way
        behind = behind | (input_ids == self._word)
        other = torch.where(behind, torch.full_like(input_ids, self._padding), input_ids)
        one = self._first(input_ids=input_ids, output_hidden_states=True).hidden_states[-2]
        two = self._second(input_ids=other, output_hidden_states=True)
        text = torch.cat([one, two.hidden_states[-2]], dim=-1)
        pooled = two.text_embeds
        missing = text.shape[-1] - pooled.shape[-1]
        row = torch.nn.functional.pad(pooled, (0, missing)).unsqueeze(1)
        embeddings: torch.Tensor = torch.cat([text, row], dim=1)
        if (
            self._zero
        ):  # `force_zeros_for_empty_prompt`: an empty negative prompt has zero embeddings
            embeddings = (
                embeddings * (input_ids[:, 1] != self._end).to(embeddings.dtype)[:, None, None]
            )
        return embeddings


class Denoiser(torch.nn.Module):
    """FP32 `[B, C, h, w]`, `[1]`, `[B, L + 1, D]` → FP32 `[B, C, h, w]`."""

    def __init__(self, body: Any, pooled: int, scale: int) -> None:
        super().__init__()
        self._body, self._pooled, self._scale = body, pooled, float(scale)

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        # sizes as sums of ones: the exporter then needs no symbolic numbers
        height = torch.ones_like(sample[:, 0, :, 0]).sum(1, keepdim=True) * self._scale
        width = torch.ones_like(sample[:, 0, 0, :]).sum(1, keepdim=True) * self._scale
        cropped = torch.zeros_like(height)
        sizes = torch.cat([height, width, cropped, cropped, height, width], dim=1)
        about = {"text_embeds": encoder_hidden_states[:, -1, : self._pooled], "time_ids": sizes}
        noise: torch.Tensor = self._body(
            sample,
            timestep,
            encoder_hidden_states[:, :-1],
            added_cond_kwargs=about,
            return_dict=False,
        )[0]
        return noise


def check(first: Any, second: Any, tokenizers: tuple[Any, Any], unet: Any) -> None:
    """Raises ConvertError for a pipeline that these graphs would compute wrongly."""
    wrong = []
    if tokenizers[0].get_vocab() != tokenizers[1].get_vocab():
        wrong.append("its two tokenizers differ")
    if first.config.max_position_embeddings != second.config.max_position_embeddings:
        wrong.append("its two text encoders read different lengths")
    if unet.config.addition_embed_type != "text_time":
        wrong.append(f"its UNet's addition_embed_type is {unet.config.addition_embed_type}")
    if second.config.projection_dim > first.config.hidden_size + second.config.hidden_size:
        wrong.append("its pooled state is wider than its text")
    if wrong:
        raise ConvertError(
            f"the pipeline is not Stable Diffusion XL: {'; '.join(wrong)}",
            hint="supported: text-to-image pipelines shaped like Stable Diffusion 1, 2 and XL",
        )
