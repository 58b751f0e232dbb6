"""Tensors as models.yaml declares them, for a user's own models and ensembles."""

from typing import Literal

from pydantic import Field

from toolkit.fields.strict import Many, Strict

Type = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "STRING",
]


class Output(Strict):
    """A tensor that a model gives."""

    type: Type = Field(description="Triton's data type without `TYPE_`; for text `STRING`.")
    dims: Many[int] = Field(
        min_length=1,
        description="The shape without the batch dimension; -1 stands for any length.",
    )


class Input(Output):
    """A tensor that a model takes."""

    optional: bool = Field(default=False, description="Whether a request may omit it.")
    ragged: bool = Field(
        default=False,
        description="Whether requests of different shapes may be batched: the model then gets each "
        "request's own shape.",
    )
