"""Models of Triton that this toolkit did not build: NVIDIA's vLLM and TensorRT-LLM backends, and
embedding models whose tensors the operator names.

What such a model has no tensor for is done by the gateway, or refused by name.
"""
