"""Smaller weights: quantized checkpoints and graphs, each with proof that they still work."""
