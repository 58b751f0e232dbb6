"""A scripted engine, embedder and painter: edge cases, made reproducible."""
