"""Images to be made, and the results."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drawing:
    """Images to be drawn. None means: the model's default."""

    prompt: str
    negative_prompt: str | None = None
    count: int = 1
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    stop_after: int | None = None
    """Steps after which to tell what the images seem to become."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """PNG files, and the tokens of the prompts."""

    files: list[bytes]
    prompt_tokens: int = 0
