"""A language model in vLLM's AsyncLLM, as one decoupled step."""
