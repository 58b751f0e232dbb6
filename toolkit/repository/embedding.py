"""Configs of an embedding model: `tokenize` → `encoder`, batched (python_backends/README.md)."""

from tritonclient.grpc.model_config_pb2 import ModelConfig

from toolkit.repository.parts import Route, Step, Tensor, ensemble_config, step_config
from toolkit.targets import Target

MAX_BATCH_SIZE = 256
"""Texts of one request, and rows that Triton may hand over together. The encoder itself splits what
it gets by length, so this is a limit on queues, not on memory."""
TOKENIZE_INSTANCES = 2

_TEXT = Tensor("text", "STRING", (1,))
_TRUNCATE = Tensor("truncate", "BOOL", (1,), optional=True)
_COUNT = Tensor("num_tokens", "INT32", (1,))


def embedding_configs(
    name: str, dimensions: int, context_length: int, public: dict[str, object], target: Target
) -> list[ModelConfig]:
    """The ensemble and its two steps; `public` are the parameters of every ensemble."""
    vectors = Tensor("embedding", "FP32", (dimensions,))
    tokens = [Tensor(part, "INT64", (-1,)) for part in ("input_ids", "attention_mask")]
    ragged = [Tensor(tensor.name, tensor.type, tensor.dims, ragged=True) for tensor in tokens]
    tokenize = Step(
        name=f"{name}.tokenize",
        environment="onnx",
        inputs=(_TEXT, _TRUNCATE),
        outputs=(*tokens, _COUNT),
        parameters={"context_length": context_length},
        instances=TOKENIZE_INSTANCES,
        max_batch_size=MAX_BATCH_SIZE,
    )
    encoder = Step(
        name=f"{name}.encoder",
        environment="onnx",
        inputs=ragged,
        outputs=(vectors,),
        max_batch_size=MAX_BATCH_SIZE,
        batches=True,
    )
    names = ("input_ids", "attention_mask")
    routes = (
        Route(tokenize, ("text", "truncate"), (*names, "num_tokens")),
        Route(encoder, names, ("embedding",)),
    )
    about = {"toolkit.context_length": context_length, "toolkit.dimensions": dimensions}
    ensemble = ensemble_config(
        name, ((_TEXT, _TRUNCATE), (vectors, _COUNT)), routes, public | about
    )
    return [ensemble, step_config(tokenize, target), step_config(encoder, target)]
