"""One run on a machine with one NVIDIA GPU: everything that a machine without one cannot check.

`python -m benchmarks.gpu` serves, quantizes, measures against vLLM, onnxruntime and diffusers, and
writes `gpu.json` and `gpu.md` into one folder. docs/guides/gpu.md says how to run it.
"""
