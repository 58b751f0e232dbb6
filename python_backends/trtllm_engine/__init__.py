"""The engine step on TensorRT-LLM: adapts the model in NVIDIA's image to the tensor contract."""
