"""TensorRT-LLM behind the contract: the model that NVIDIA's image carries does the work."""
