"""Code that runs in Triton's Python backend: one folder per backend, shared modules beside them.

A step's `model.py` is copied to its model's version folder, and the modules that it imports to
`python_backends/` beside it: imports are the same in a model repository and in this package.
"""
