"""Language models: `prompt` → `engine`, decoupled (python_backends/README.md).

`fields` is an entry of models.yaml, `facts` what is known of its weights, `checks` what may be
wrong with the entry. `served` makes what clients see and the step `prompt`, `engine` vLLM's step,
`tensorrt_llm` the steps of the other engine. `kind` joins them.
"""

from toolkit.kinds.llm.kind import KIND

__all__ = ["KIND"]
