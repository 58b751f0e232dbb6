"""The Python backend: `model.py` and its environment."""

from tests.toolkit.verifier.corpus.dsl import (
    CODE,
    ENVIRONMENT,
    Case,
    Files,
    Verdict,
    case,
    edit,
    python,
)

_ONE = python()
_REFUSED = Verdict.REFUSED


def _code(text: str) -> Files:
    return python(files={"1/model.py": text})


def _environment(path: str) -> Files:
    return edit(_ONE, "$$TRITON_MODEL_DIRECTORY/../.environments/onnx", path)


_EMPTY = "class TritonPythonModel:\n    pass\n"
_ANSWER = "class TritonPythonModel:\n    def execute(self, requests):\n        return None\n"

CASES: list[Case] = [
    case("code_syntax", _code("def broken(:\n"), _REFUSED, "python-code"),
    case("code_class", _code(CODE.replace("TritonPythonModel", "Model")), _REFUSED, "python-class"),
    case(
        "code_class_case",
        _code(CODE.replace("TritonPythonModel", "TritonpythonModel")),
        _REFUSED,
        "python-class",
    ),
    case("code_empty", _code(""), _REFUSED, "python-class"),
    case("code_no_execute", _code(_EMPTY), Verdict.FAILS, "python-execute", request="x:FP32:3"),
    case(
        "code_execute_static",
        _code(_ANSWER.replace("self, ", "self, more, ")),
        Verdict.FAILS,
        "python-execute",
        request="x:FP32:3",
    ),
    case(
        "code_tabs", _code(_ANSWER.replace("        return", "\treturn")), _REFUSED, "python-code"
    ),
    case(
        "code_imported_class",
        python(files={"1/model.py": "from inner import TritonPythonModel\n", "1/inner.py": CODE}),
        request="x:FP32:3",
    ),
    case(
        "code_assigned_class",
        _code(CODE.replace("TritonPythonModel", "Model") + "\nTritonPythonModel = Model\n"),
    ),
    case("code_async", _code(_ANSWER.replace("def execute", "async def execute"))),
    case(
        "code_async_decoupled",
        python(
            files={"1/model.py": _ANSWER.replace("def execute", "async def execute")},
            more="model_transaction_policy { decoupled: true }\n",
        ),
    ),
    case(
        "code_inherited",
        _code(
            CODE.replace("TritonPythonModel", "Base")
            + "\n\nclass TritonPythonModel(Base):\n    pass\n"
        ),
    ),
    case(
        "code_python2", _code(_ANSWER.replace("return None", "print 'x'")), _REFUSED, "python-code"
    ),
    case(
        "environment_absent",
        _environment("$$TRITON_MODEL_DIRECTORY/../.environments/none"),
        _REFUSED,
        "python-environment",
    ),
    case(
        "environment_relative",
        _environment("../.environments/onnx"),
        _REFUSED,
        "python-environment",
    ),
    case(
        "environment_one_dollar",
        _environment("$TRITON_MODEL_DIRECTORY/../.environments/onnx"),
        _REFUSED,
        "python-environment",
    ),
    case(
        "environment_tar", _environment("/nonexistent/env.tar.gz"), _REFUSED, "python-environment"
    ),
    case("environment_unset", edit(_ONE, ENVIRONMENT, ""), Verdict.REFUSED, "python-host"),
    case(
        "environment_numpy2",
        _environment("$$TRITON_MODEL_DIRECTORY/../.environments/numpy2"),
        Verdict.WRONG,
        "python-numpy",
        request="x:FP32:4",
    ),
    case("decoupled_plain_code", python(more="model_transaction_policy { decoupled: true }\n")),
    case(
        "outputs_undeclared",
        python(
            outputs="y:FP32:-1",
            files={"1/model.py": CODE.replace("pb.Tensor(name, each)", 'pb.Tensor("other", each)')},
        ),
        Verdict.WRONG,
        request="x:FP32:3",
    ),
    case(
        "auto_complete",
        python(
            inputs="",
            outputs="",
            files={
                "1/model.py": CODE.replace(
                    "    def initialize",
                    """    def auto_complete_config(config):
        config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [-1]})
        config.add_output({"name": "y", "data_type": "TYPE_FP32", "dims": [-1]})
        return config

    auto_complete_config = staticmethod(auto_complete_config)

    def initialize""",
                )
            },
        ),
        request="x:FP32:3",
    ),
    case(
        "code_imports_absent",
        _code("import nonexistent_package\n" + CODE),
        _REFUSED,
        "python-import",
    ),
    case(
        "code_imports_guarded",
        _code("try:\n    import nonexistent_package\nexcept ImportError:\n    pass\n" + CODE),
        request="x:FP32:3",
    ),
    case(
        "code_initialize_bare",
        _code(CODE.replace("initialize(self, args)", "initialize(self)")),
        _REFUSED,
        "python-signature",
    ),
    case(
        "code_constructor",
        _code(
            CODE.replace(
                "    def initialize",
                "    def __init__(self, more):\n        pass\n\n    def initialize",
            )
        ),
        _REFUSED,
        "python-signature",
    ),
    case(
        "parameter_force",
        python(
            more='parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" '
            'value { string_value: "maybe" } }\n'
        ),
        _REFUSED,
        "python-parameter",
    ),
    case("runtime_absent", python(more='runtime: "libnone.so"\n'), _REFUSED, "runtime"),
]
