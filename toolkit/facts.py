"""The facts about a model's weights, read during the conversion and stored beside the result.

Configs are made from these and from models.yaml, so a config never needs the weights again. Each
kind of model has a class of facts (`toolkit.kinds`).
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

FILE = "facts.json"


class Facts(BaseModel):
    """Base of the facts of all kinds."""

    model_config = ConfigDict(frozen=True)

    kind: str


class TextFacts(Facts):
    """Facts of models that read text. `token_bytes` are the bytes of text that the tokenizer's
    longest token stands for; only the tokenizer contains it, so it is not in the weights' file."""

    token_bytes: int = Field(default=0, exclude=True)

    def text_bytes(self, tokens: int) -> int | None:
        """The most bytes of text that this many tokens can hold; None when it is not known."""
        return tokens * self.token_bytes or None


def write_facts(folder: Path, facts: Facts) -> None:
    """Writes `facts` beside the converted parts."""
    (folder / FILE).write_text(facts.model_dump_json(indent=2) + "\n")
