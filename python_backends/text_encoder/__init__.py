"""Prompts to text embeddings, for diffusion models."""
