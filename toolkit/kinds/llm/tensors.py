"""The tensors of a language model: the contract's, and those of Triton's own vLLM backend."""

from toolkit.kinds.parts import Tensor

_TEXT = (1,)
_MANY = (-1,)
PROMPT = Tensor("prompt", "STRING", _TEXT)
SAMPLING = Tensor("sampling_parameters", "STRING", _TEXT, optional=True)
REPLY = Tensor("reply", "STRING", _TEXT, optional=True)
IMAGES = Tensor("images", "STRING", _MANY, optional=True)
TOKENS = Tensor("token_ids", "INT32", _MANY)
TEXT = Tensor("text", "STRING", _MANY)
EVENT = Tensor("event", "STRING", _MANY)

# Triton's own vLLM backend, so that its clients work against the engine.
_FLAGS = (
    "stream",
    "exclude_input_in_output",
    "return_finish_reason",
    "return_cumulative_logprob",
    "return_logprobs",
    "return_num_input_tokens",
    "return_num_output_tokens",
)
ENGINE_INPUTS = (
    Tensor("token_ids", "INT32", _MANY, optional=True),
    SAMPLING,
    REPLY,
    IMAGES,
    Tensor("cancel", "STRING", _TEXT, optional=True),
    Tensor("text_input", "STRING", _TEXT, optional=True),
    *(Tensor(name, "BOOL", _TEXT, optional=True) for name in _FLAGS),
)
# token_ids and cancel: no images, and not the tensors of Triton's vLLM backend
TENSORRT_INPUTS = (ENGINE_INPUTS[0], SAMPLING, REPLY, ENGINE_INPUTS[4])
ENGINE_OUTPUTS = (
    EVENT,
    Tensor("text_output", "STRING", _MANY),
    Tensor("finish_reason", "STRING", _MANY),
    Tensor("cumulative_logprob", "FP32", _MANY),
    Tensor("logprobs", "STRING", _MANY),
    Tensor("num_input_tokens", "UINT32", _TEXT),
    Tensor("num_output_tokens", "UINT32", _MANY),
)
ADAPTER = Tensor("adapter", "STRING", _TEXT)
