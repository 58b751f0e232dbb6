"""The facts about a language model's converted weights."""

from typing import Literal

from pydantic import BaseModel, Field

from toolkit.facts import TextFacts


class Details(BaseModel):
    """Details of a language model's weights for people: family, parameters, quantization."""

    family: str = ""
    parameters: int = 0
    size_bytes: int = 0
    quantization: str = ""


class AdapterFacts(BaseModel):
    """A LoRA adapter: the rank of its matrices, and its source's digest, `sha256:…`."""

    rank: int
    digest: str


class LlmFacts(TextFacts):
    """`context_length` in tokens is the model's maximum; `chat`: it has a template;
    `vision`: it takes images.
    `cache_bytes_per_token` is what keys and values of one token take, at 2 bytes a number.
    `adapters` are known only where an entry names some; they are not part of the weights."""

    kind: Literal["llm"] = "llm"
    context_length: int
    chat: bool
    cache_bytes_per_token: int
    details: Details = Details()
    adapters: dict[str, AdapterFacts] = Field(default_factory=dict)
    vision: bool = False
