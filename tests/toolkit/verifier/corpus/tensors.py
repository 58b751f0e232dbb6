"""Inputs and outputs: names, types, dims, reshapes, and related settings."""

from tests.toolkit.verifier.corpus.dsl import Case, Files, Verdict, case, edit, python

_ONE = python()
_BATCHED = python(batch=4)
_REFUSED = Verdict.REFUSED


def _input(text: str, batch: int = 0) -> Files:
    return edit(python(batch=batch), 'name: "x"\n', f'name: "x"\n{text}\n')


def _dims(dims: str, batch: int = 0) -> Files:
    return python(inputs=f"x:FP32:{dims}", batch=batch)


CASES: list[Case] = [
    case("dims_zero", _dims("0"), _REFUSED, "tensor-dims"),
    case("dims_zero_inner", _dims("3,0"), _REFUSED, "tensor-dims"),
    case("dims_negative", _dims("-2"), _REFUSED, "tensor-dims"),
    case("dims_empty", edit(_ONE, "dims: [ -1 ]", "dims: [ ]"), _REFUSED, "tensor-dims"),
    case("dims_absent", edit(_ONE, "  dims: [ -1 ]\n", ""), _REFUSED, "tensor-dims"),
    case("dims_output_zero", python(outputs="y:FP32:0"), _REFUSED, "tensor-dims"),
    case("dims_fixed", _dims("3"), request="x:FP32:3"),
    case("dims_fixed_wrong", _dims("3"), Verdict.FAILS, request="x:FP32:4"),
    case("type_absent", edit(_ONE, "  data_type: TYPE_FP32\n", ""), _REFUSED, "tensor-type"),
    case("type_invalid", edit(_ONE, "TYPE_FP32", "TYPE_INVALID"), _REFUSED, "tensor-type"),
    case("name_missing", edit(_ONE, '  name: "x"\n', ""), _REFUSED, "tensor-name"),
    case("name_empty", edit(_ONE, 'name: "x"', 'name: ""'), _REFUSED, "tensor-name"),
    case(
        "twice_input",
        python("x:FP32:-1 x:FP32:-1"),
        Verdict.FAILS,
        "tensor-twice",
        request="x:FP32:3",
    ),
    case(
        "twice_input_differs",
        python("x:FP32:-1 x:INT32:-1"),
        Verdict.FAILS,
        "tensor-twice",
        request="x:FP32:3",
    ),
    case("twice_output", python(outputs="y:FP32:-1 y:FP32:-1"), Verdict.LOADS, "tensor-twice"),
    case("same_in_and_out", python("y:FP32:-1")),
    case("no_inputs", python(inputs=""), Verdict.LOADS, "no-tensors"),
    case("no_outputs", python(outputs=""), Verdict.LOADS, "no-tensors"),
    case("reshape_empty", _input("reshape { shape: [] }"), _REFUSED, "tensor-reshape"),
    case("reshape_batched", edit(_BATCHED, "dims: [ -1 ]", "dims: [ 1 ] reshape { shape: [] }")),
    case(
        "reshape_size",
        edit(_ONE, "dims: [ -1 ]", "dims: [ 4 ] reshape { shape: [ 5 ] }"),
        _REFUSED,
        "tensor-reshape",
    ),
    case(
        "reshape_zero",
        edit(_ONE, "dims: [ -1 ]", "dims: [ 4 ] reshape { shape: [ 0 ] }"),
        _REFUSED,
        "tensor-reshape",
    ),
    case("reshape_good", edit(_ONE, "dims: [ -1 ]", "dims: [ 4 ] reshape { shape: [ 2, 2 ] }")),
    case(
        "reshape_wild",
        edit(_ONE, "dims: [ -1 ]", "dims: [ -1, 4 ] reshape { shape: [ -1, 2, 2 ] }"),
    ),
    case(
        "reshape_wild_size",
        edit(_ONE, "dims: [ -1 ]", "dims: [ -1, 4 ] reshape { shape: [ -1, 3 ] }"),
        _REFUSED,
        "tensor-reshape",
    ),
    case(
        "reshape_wild_count",
        edit(_ONE, "dims: [ -1 ]", "dims: [ -1, -1 ] reshape { shape: [ -1 ] }"),
        _REFUSED,
        "tensor-reshape",
    ),
    case("format_two", _input("format: FORMAT_NHWC"), _REFUSED, "tensor-format"),
    case("format_three", edit(_dims("3,8,8"), 'name: "x"\n', 'name: "x"\nformat: FORMAT_NCHW\n')),
    case("shape_tensor", _input("is_shape_tensor: true"), _REFUSED, "tensor-format"),
    case("non_linear", _input("is_non_linear_format_io: true"), _REFUSED, "tensor-format"),
    case("ragged_batch", _input("allow_ragged_batch: true", batch=4)),
    case("ragged_unbatched", _input("allow_ragged_batch: true"), Verdict.LOADS, "ragged"),
    case("optional_input", python("x:FP32:-1 z?:FP32:-1"), request="x:FP32:3"),
    case("bf16", python("x:BF16:-1")),
    case(
        "label_missing",
        edit(_ONE, 'name: "y"\n', 'name: "y"\nlabel_filename: "labels.txt"\n'),
        _REFUSED,
        "label-file",
    ),
    case(
        "label_present",
        {
            **edit(_ONE, 'name: "y"\n', 'name: "y"\nlabel_filename: "labels.txt"\n'),
            "@/labels.txt": "cat\n",
        },
    ),
    case(
        "batch_in_dims",
        python("x:FP32:-1,3", "y:FP32:-1,3", batch=4),
        Verdict.FAILS,
        "batch-in-dims",
        request="x:FP32:2,3",
    ),
    case(
        "batch_input_kind",
        python(
            batch=4,
            more=(
                'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_FP32 }\n'
            ),
        ),
        _REFUSED,
        "batch-io",
    ),
    case(
        "batch_input_type",
        python(
            batch=4,
            more=(
                'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT64 '
                'source_input: "x" }\n'
            ),
        ),
        _REFUSED,
        "batch-io",
    ),
    case(
        "batch_input_source",
        python(
            batch=4,
            more=(
                'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_FP32 '
                'source_input: "q" }\n'
            ),
        ),
        _REFUSED,
        "batch-io",
    ),
    case(
        "batch_output_target",
        python(
            batch=4,
            more=(
                'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "q" '
                'source_input: "x" }\n'
            ),
        ),
        _REFUSED,
        "batch-io",
    ),
    case(
        "batch_output_source",
        python(
            batch=4,
            more=(
                'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "y" '
                'source_input: "q" }\n'
            ),
        ),
        _REFUSED,
        "batch-io",
    ),
]
