"""What runs inside Triton's Python backend: one folder per backend, shared modules beside them.

A step's `model.py` stands in its model's version folder; what it imports stands beside it under
`python_backends/`, so that imports read the same in a model repository and in this package.
"""
