"""Text embeddings to latents: the loop of a diffusion model."""
