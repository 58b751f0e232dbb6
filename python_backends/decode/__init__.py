"""Latents to PNG images."""
