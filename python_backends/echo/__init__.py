"""A scripted engine, encoder and image generator that make edge cases reproducible."""
