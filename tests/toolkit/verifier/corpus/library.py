"""The models that many cases use as steps: loaded once, because each costs a Python process."""

from tests.toolkit.verifier.corpus.dsl import Files, python

_DECOUPLED = "model_transaction_policy { decoupled: true }\n"
_TWO = "instance_group { kind: KIND_CPU count: 2 }\n"

LIBRARY: dict[str, Files] = {
    "lib.f32": python(name="lib.f32"),
    "lib.f32b8": python(name="lib.f32b8", batch=8),
    "lib.f32b4": python(name="lib.f32b4", batch=4),
    "lib.i32": python("x:INT32:-1", "y:INT32:-1", name="lib.i32"),
    "lib.i64": python("x:INT64:-1", "y:INT64:-1", name="lib.i64"),
    "lib.fix4": python("x:FP32:4", "y:FP32:4", name="lib.fix4"),
    "lib.fix4b8": python("x:FP32:4", "y:FP32:4", name="lib.fix4b8", batch=8),
    "lib.row4": python("x:FP32:1,4", "y:FP32:1,4", name="lib.row4"),
    "lib.mat": python("x:FP32:-1,-1", "y:FP32:-1,-1", name="lib.mat"),
    "lib.opt": python("x:FP32:-1 z?:FP32:-1", name="lib.opt"),
    "lib.two": python("a:FP32:-1 b:FP32:-1", name="lib.two"),
    "lib.split": python(outputs="y:FP32:-1 z:FP32:-1", name="lib.split"),
    "lib.cast": python(outputs="y:INT32:-1", name="lib.cast"),
    "lib.dec": python(name="lib.dec", more=_DECOUPLED),
    "lib.dec2": python(outputs="y:FP32:-1 z:FP32:-1", name="lib.dec2", more=_DECOUPLED),
    "lib.pair": python(name="lib.pair", more=_TWO),
}


def used_by(files: Files) -> Files:
    """The files of the library's models that `files` name."""
    text = "\n".join(files.values())
    return {
        path: content
        for name, model in LIBRARY.items()
        if f'"{name}"' in text
        for path, content in model.items()
    }
