"""The model code that NVIDIA's TensorRT-LLM image carries, run from there."""
