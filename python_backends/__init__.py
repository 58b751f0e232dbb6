"""What runs inside Triton's Python backend, and which files each kind of step is made of.

A step's `model.py` stands in its model's version folder; what it imports stands beside it under
`python_backends/`, so that imports read the same in a model repository and in this package.
"""

from pathlib import Path

_HERE = Path(__file__).parent
_GRAPH = ("cores.py", "errors.py", "triton.py", "onnx.py")
_SHARED = {
    "prompt": ("errors.py", "pieces.py", "templates.py", "triton.py"),
    "vllm_engine": (
        "cores.py",
        "errors.py",
        "triton.py",
        "cancellation.py",
        "loop.py",
        "replies.py",
        "templates.py",
    ),
    "tokenize": ("errors.py", "pieces.py", "triton.py"),
    "encoder": _GRAPH,
    "text_encoder": (*_GRAPH, "pieces.py"),
    "denoise": _GRAPH,
    "decode": _GRAPH,
    "echo": ("errors.py", "triton.py", "cancellation.py", "loop.py", "replies.py"),
}

KINDS = tuple(_SHARED)


def files(kind: str) -> dict[str, Path]:
    """What to copy into a version's folder: relative destination -> source file.

    Raises KeyError for a kind that is not in `KINDS`.
    """
    shared = {f"python_backends/{name}": _HERE / name for name in _SHARED[kind]}
    own = {
        f"python_backends/{kind}/{path.name}": path
        for path in sorted((_HERE / kind).glob("*.py"))
        if path.name not in {"__init__.py", "model.py"}
    }
    return {"model.py": _HERE / kind / "model.py", **shared, **own}
