"""What the text of a config may look like: grammar, fields, values, names."""

from tests.verify.corpus.dsl import Case, Verdict, case, edit, python, without

_ONE = python()
_CONFIG = "@/config.pbtxt"
_REFUSED = Verdict.REFUSED


def _more(text: str) -> dict[str, str]:
    return python(more=text)


CASES: list[Case] = [
    case("plain", _ONE, request="x:FP32:3"),
    case("lists", edit(_ONE, "dims: [ -1 ]", "dims: -1;"), request="x:FP32:3"),
    case("comments", edit(_ONE, "max_batch_size: 0\n", "# batch\nmax_batch_size : 0 # none\n")),
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
    case("numbered_enum", edit(_ONE, "TYPE_FP32", "11")),
    case("quoted_number", edit(_ONE, "size: 0", 'size: "0"'), _REFUSED, "syntax"),
    case("float_number", edit(_ONE, "size: 0", "size: 0.0"), _REFUSED, "syntax"),
    case("repeated_scalar", _more("max_batch_size: 0\n"), _REFUSED, "syntax"),
    case("string_parameter", _more('parameters { key: "a" value: "b" }\n'), _REFUSED, "syntax"),
    case("parameter_map", _more('parameters: { key: "a" value: { string_value: "b" } }\n')),
    case("json_parameter", _more('parameters { a: "b" }\n'), _REFUSED, "unknown-field"),
    case("placeholder", edit(_ONE, "size: 0", "size: ${max_batch_size}"), _REFUSED, "placeholder"),
    case("placeholder_name", edit(_ONE, '"@"', '"${name}"'), _REFUSED, "placeholder"),
    case("crlf", {**_ONE, _CONFIG: _ONE[_CONFIG].replace("\n", "\r\n")}),
    case("bom", {**_ONE, _CONFIG: "\ufeff" + _ONE[_CONFIG]}, _REFUSED, "syntax"),
    case("true_words", _more("model_transaction_policy { decoupled: True }\n")),
    case("yes_word", _more("model_transaction_policy { decoupled: yes }\n"), _REFUSED, "syntax"),
    case("single_quotes", edit(_ONE, '"x"', "'x'"), request="x:FP32:3"),
    case("joined_strings", edit(_ONE, 'backend: "python"', 'backend: "py" "thon"')),
    case("name_other", edit(_ONE, 'name: "@"', 'name: "other"'), _REFUSED, "name-mismatch"),
    case("name_absent", edit(_ONE, 'name: "@"\n', "")),
    case("name_case", edit(_ONE, 'name: "@"', 'name: "NAME_CASE"'), _REFUSED, "name-mismatch"),
    case("no_backend", {**edit(_ONE, 'backend: "python"\n', "")}),
    case("no_backend_file", {_CONFIG: edit(_ONE, 'backend: "python"\n', "")[_CONFIG], "@/1/m.bin": ""},
         _REFUSED, "backend"),
    case("wrong_backend", edit(_ONE, '"python"', '"pyhton"'), _REFUSED, "backend"),
    case("backend_case", edit(_ONE, '"python"', '"Python"'), _REFUSED, "backend"),
    case("onnx_backend", {**edit(_ONE, '"python"', '"onnxruntime"'), "@/1/model.onnx": ""}, _REFUSED, "backend"),
    case("platform_python", edit(_ONE, "backend:", "platform:"), _REFUSED, "backend"),
    case("platform_pair", _more('platform: "onnxruntime_onnx"\n'), _REFUSED, "backend"),
    case("platform_both", _more('platform: "ensemble"\n'), _REFUSED, "backend"),
    case("no_config", without(_ONE, _CONFIG), Verdict.LOADS, "missing-config"),
    case("empty_config", {**_ONE, _CONFIG: ""}),
    case("config_misnamed", {**without(_ONE, _CONFIG), "@/config.pbtx": _ONE[_CONFIG]}, Verdict.LOADS, "missing-config"),
]
