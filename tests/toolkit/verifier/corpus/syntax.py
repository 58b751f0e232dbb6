"""What the text of a config may look like: grammar, fields, values, names."""

from tests.toolkit.verifier.corpus.dsl import (
    ENVIRONMENT,
    Case,
    Verdict,
    case,
    edit,
    python,
    without,
)

_ONE = python()
_CONFIG = "@/config.pbtxt"
_REFUSED = Verdict.REFUSED

_ODD = f"""
name : '@' # comments, single quotes, a blank before the colon
backend: "py" "thon"
input: [ {{ name: "x", data_type: 11; dims: 0x3 optional: False, }} ]
output {{ name: "y" data_type: TYPE_FP32 dims: -1; }}
model_transaction_policy < decoupled: f >
{ENVIRONMENT}
"""
"""Everything that the grammar allows and few people write."""


def _more(text: str) -> dict[str, str]:
    return python(more=text)


CASES: list[Case] = [
    case("plain", _ONE, request="x:FP32:3"),
    case("brace_open", edit(_ONE, 'name: "x"', 'name: "x'), _REFUSED, "syntax"),
    case("brace_lost", _more("dynamic_batching {\n"), _REFUSED, "syntax"),
    case("comma_list", edit(_ONE, "dims: [ -1 ]", "dims: [ -1, ]"), _REFUSED, "syntax"),
    case("no_colon", edit(_ONE, 'backend: "python"', 'backend "python"'), _REFUSED, "syntax"),
    case("json", {**_ONE, _CONFIG: '{"name": "@", "backend": "python"}\n'}, _REFUSED, "syntax"),
    case("unknown_field", _more('descriptin: "x"\n'), _REFUSED, "unknown-field"),
    case("unknown_inner", _more("dynamic_batching { max_delay: 1 }\n"), _REFUSED, "unknown-field"),
    case("tensor_shape", edit(_ONE, "dims:", "shape:"), _REFUSED, "unknown-field"),
    case("later_metrics", _more("model_metrics { }\n"), _REFUSED, "unknown-field"),
    case("bad_enum", edit(_ONE, "TYPE_FP32", "TYPE_FLOAT"), _REFUSED, "syntax"),
    case("quoted_enum", edit(_ONE, "TYPE_FP32", '"TYPE_FP32"'), _REFUSED, "syntax"),
    case("short_enum", edit(_ONE, "TYPE_FP32", "FP32"), _REFUSED, "syntax"),
    case("quoted_number", edit(_ONE, "size: 0", 'size: "0"'), _REFUSED, "syntax"),
    case("float_number", edit(_ONE, "size: 0", "size: 0.0"), _REFUSED, "syntax"),
    case(
        "repeated_scalar",
        edit(python(batch=4), "max_batch_size: 4", "max_batch_size: 4 max_batch_size: 4"),
        _REFUSED,
        "syntax",
    ),
    case("string_parameter", _more('parameters { key: "a" value: "b" }\n'), _REFUSED, "syntax"),
    case("parameter_map", _more('parameters: { key: "a" value: { string_value: "b" } }\n')),
    case("json_parameter", _more('parameters { a: "b" }\n'), _REFUSED, "unknown-field"),
    case("placeholder", edit(_ONE, "size: 0", "size: ${max_batch_size}"), _REFUSED, "placeholder"),
    case("placeholder_name", edit(_ONE, '"@"', '"${name}"'), _REFUSED, "placeholder"),
    case("odd_habits", {**_ONE, _CONFIG: _ODD}, request="x:FP32:3"),
    case("crlf", {**_ONE, _CONFIG: _ONE[_CONFIG].replace("\n", "\r\n")}),
    case("bom", {**_ONE, _CONFIG: "\ufeff" + _ONE[_CONFIG]}, _REFUSED, "syntax"),
    case("yes_word", _more("model_transaction_policy { decoupled: yes }\n"), _REFUSED, "syntax"),
    case("name_other", edit(_ONE, 'name: "@"', 'name: "other"'), _REFUSED, "name-mismatch"),
    case("name_absent", edit(_ONE, 'name: "@"\n', "")),
    case("name_case", edit(_ONE, 'name: "@"', 'name: "NAME_CASE"'), _REFUSED, "name-mismatch"),
    case("no_backend", {**edit(_ONE, 'backend: "python"\n', "")}),
    case(
        "no_backend_file",
        {_CONFIG: edit(_ONE, 'backend: "python"\n', "")[_CONFIG], "@/1/m.bin": ""},
        _REFUSED,
        "backend",
    ),
    case("wrong_backend", edit(_ONE, '"python"', '"pyhton"'), _REFUSED, "backend"),
    case("backend_case", edit(_ONE, '"python"', '"Python"'), _REFUSED, "backend"),
    case(
        "onnx_backend",
        {**edit(_ONE, '"python"', '"onnxruntime"'), "@/1/model.onnx": ""},
        _REFUSED,
        "backend",
    ),
    case("platform_python", edit(_ONE, "backend:", "platform:"), _REFUSED, "backend"),
    case("platform_pair", _more('platform: "onnxruntime_onnx"\n'), Verdict.LOADS, "platform-pair"),
    case("platform_both", _more('platform: "ensemble"\n'), _REFUSED, "backend"),
    case("no_config", without(_ONE, _CONFIG), Verdict.REFUSED, "missing-config"),
    case("empty_config", {**_ONE, _CONFIG: ""}, Verdict.REFUSED, "no-tensors", "python-host"),
    case(
        "config_misnamed",
        {**without(_ONE, _CONFIG), "@/config.pbtx": _ONE[_CONFIG]},
        Verdict.REFUSED,
        "missing-config",
    ),
    case(
        "slash_comment",
        edit(_ONE, "max_batch_size: 0", "max_batch_size: 0 // none"),
        _REFUSED,
        "syntax",
    ),
    case("brace_extra", _more("}\n"), _REFUSED, "syntax"),
    case("equals_sign", edit(_ONE, 'backend: "python"', 'backend = "python"'), _REFUSED, "syntax"),
    case("missing_quotes", edit(_ONE, 'backend: "python"', "backend: python"), _REFUSED, "syntax"),
    case(
        "scheduler_choices",
        _more("dynamic_batching { } sequence_batching { }\n"),
        _REFUSED,
        "syntax",
    ),
    case(
        "placeholder_quoted",
        _more('parameters { key: "a" value { string_value: "${b}" } }\n'),
        Verdict.LOADS,
        "placeholder",
    ),
]
