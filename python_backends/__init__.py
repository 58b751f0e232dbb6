"""What runs inside Triton's Python backend: one folder per backend, shared modules beside them.

A step's `model.py` is in its model's version folder, and what it imports is beside it under
`python_backends/`, so that imports read the same in a model repository and in this package.
"""
