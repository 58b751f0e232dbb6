"""What a model repository needs to run here: the Triton server and its Python environments."""
