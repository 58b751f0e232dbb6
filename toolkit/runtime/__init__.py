"""Installs what a model repository needs to run here: the Triton server and Python environments."""
