"""Quantizes checkpoints and graphs, and measures the quality of the result."""
