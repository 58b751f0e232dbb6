"""Shared parts of kinds whose tensors and contract the user declares."""

from collections.abc import Mapping

from toolkit import contract
from toolkit.fields.entry import DeclaredFields
from toolkit.fields.tensors import Input, Output
from toolkit.kinds.parts import Tensor


def declared_parameters(entry: DeclaredFields, public: Mapping[str, object]) -> dict[str, object]:
    """All parameters of a user's model; none where it declares no contract."""
    declared = entry.contract
    # also without the public ones: the gateway then ignores the model
    if declared is None:
        return {}
    parameters: dict[str, object] = {
        **public,
        contract.KIND: declared.kind,
        contract.CAPABILITIES: list(
            declared.capabilities or contract.INTERFACES[declared.kind].capabilities
        ),
    }
    for field in ("context_length", "dimensions", "cancel"):
        if (value := getattr(declared, field)) is not None:
            parameters[f"toolkit.{field}"] = value
    if declared.image:
        parameters[contract.IMAGE] = declared.image.model_dump()
    return parameters


def declared_tensors(declared: Mapping[str, Output]) -> list[Tensor]:
    """Tensors as models.yaml declares them."""
    return [
        Tensor(
            name,
            tensor.type,
            tensor.dims,
            optional=isinstance(tensor, Input) and tensor.optional,
            ragged=isinstance(tensor, Input) and tensor.ragged,
        )
        for name, tensor in declared.items()
    ]
