"""Ensembles: their own config, the graph of tensors, and the joins of types and shapes."""

from tests.toolkit.verifier.corpus.dsl import (
    Case,
    Files,
    Verdict,
    case,
    edit,
    ensemble,
    python,
    without,
)

_REFUSED = Verdict.REFUSED
_FAILS = Verdict.FAILS
_IO = ("x:FP32:-1", "y:FP32:-1")
_ONE = ensemble(*_IO, "lib.f32 x=x > y=y")
_CHAIN = ensemble(*_IO, "lib.f32 x=x > y=mid", "lib.f32 x=mid > y=y")
_BATCHED = ensemble(*_IO, "lib.f32b8 x=x > y=mid", "lib.f32b8 x=mid > y=y", batch=8)
_MORE = "instance_group { kind: KIND_CPU }\n"


def _io(inputs: str, outputs: str, *steps: str, batch: int = 0) -> Files:
    return ensemble(inputs, outputs, *steps, batch=batch)


def _steps(*steps: str, batch: int = 0) -> Files:
    return ensemble(*_IO, *steps, batch=batch)


CASES: list[Case] = [
    case("e_one", _ONE, request="x:FP32:3"),
    case("e_chain", _CHAIN, request="x:FP32:3"),
    case("e_batched", _BATCHED, request="x:FP32:2,3"),
    case("e_step_order", _steps("lib.f32 x=mid > y=y", "lib.f32 x=x > y=mid"), request="x:FP32:3"),
    case(
        "e_diamond", _steps("lib.split x=x > y=a z=b", "lib.two a=a b=b > y=y"), request="x:FP32:3"
    ),
    case("e_no_version", without(_ONE, "@/1/.gitkeep"), _REFUSED, "no-version"),
    case("e_backend", edit(_ONE, "platform:", "backend:"), _REFUSED, "backend"),
    case("e_no_platform", edit(_ONE, 'platform: "ensemble"\n', ""), _REFUSED, "ensemble-config"),
    case("e_no_scheduling", ensemble(*_IO), _REFUSED, "ensemble-config"),
    case(
        "e_scheduling_on_python",
        python(
            more=(
                'ensemble_scheduling { step { model_name: "lib.f32" model_version: -1 input_map '
                '{ key: "x" value: "x" } output_map { key: "y" value: "y" } } }\n'
            )
        ),
        _REFUSED,
        "ensemble-config",
    ),
    case(
        "e_scheduling_absent",
        {**_ONE, "@/config.pbtxt": 'platform: "ensemble"\n'},
        _REFUSED,
        "ensemble-config",
    ),
    case(
        "e_instance_group",
        edit(_ONE, "ensemble_sch", _MORE + "ensemble_sch"),
        _REFUSED,
        "ensemble-config",
    ),
    case(
        "e_optimization",
        edit(_ONE, "ensemble_sch", "optimization { }\nensemble_sch"),
        _REFUSED,
        "ensemble-config",
    ),
    case(
        "e_warmup",
        edit(_ONE, "ensemble_sch", 'model_warmup { name: "w" }\nensemble_sch'),
        _REFUSED,
        "ensemble-config",
    ),
    case(
        "e_dynamic",
        edit(_ONE, "ensemble_sch", "dynamic_batching { }\nensemble_sch"),
        _REFUSED,
        "syntax",
    ),
    case(
        "e_no_model_name",
        edit(_ONE, '    model_name: "lib.f32"\n', ""),
        _REFUSED,
        "ensemble-config",
    ),
    case("e_no_input_map", _steps("lib.f32 > y=y"), _REFUSED, "ensemble-config"),
    case("e_no_output_map", _steps("lib.f32 x=x >"), _REFUSED, "ensemble-config"),
    case("e_model_missing", _steps("absent x=x > y=y"), _REFUSED, "ensemble-model"),
    case(
        "e_model_broken",
        {**_steps("@.step x=x > y=y"), **python("x:FP32:0", name="@.step")},
        _REFUSED,
        "tensor-dims",
    ),
    case("e_itself", _steps("@ x=x > y=y"), _REFUSED, "ensemble-model"),
    case(
        "e_version_missing",
        edit(_ONE, "model_version: -1", "model_version: 7"),
        _REFUSED,
        "ensemble-model",
    ),
    case("e_version_one", edit(_ONE, "model_version: -1", "model_version: 1"), request="x:FP32:3"),
    case("e_version_absent", edit(_ONE, "    model_version: -1\n", ""), _REFUSED, "ensemble-model"),
    case(
        "e_nested",
        {**_steps("@.inner x=x > y=y"), **ensemble(*_IO, "lib.f32 x=x > y=y", name="@.inner")},
        request="x:FP32:3",
    ),
    case(
        "e_cycle_models",
        {**_steps("@.b x=x > y=y"), **ensemble(*_IO, "@ x=x > y=y", name="@.b")},
        _REFUSED,
        "ensemble-model",
    ),
    case(
        "e_input_unused",
        _io("x:FP32:-1 q:FP32:-1", "y:FP32:-1", "lib.f32 x=x > y=y"),
        _REFUSED,
        "ensemble-unused",
    ),
    case(
        "e_output_unwritten",
        _io("x:FP32:-1", "y:FP32:-1 q:FP32:-1", "lib.f32 x=x > y=y"),
        _REFUSED,
        "ensemble-undefined",
    ),
    case("e_tensor_unused", _steps("lib.split x=x > y=y z=spare"), _REFUSED, "ensemble-unused"),
    case("e_tensor_undefined", _steps("lib.two a=x b=ghost > y=y"), _REFUSED, "ensemble-undefined"),
    case(
        "e_tensor_typo",
        _steps("lib.f32 x=x > y=midd", "lib.f32 x=mid > y=y"),
        _REFUSED,
        "ensemble-undefined",
        "ensemble-unused",
    ),
    case(
        "e_tensor_case",
        _steps("lib.f32 x=x > y=Mid", "lib.f32 x=mid > y=y"),
        _REFUSED,
        "ensemble-undefined",
        "ensemble-unused",
    ),
    case(
        "e_tensor_twice",
        _steps("lib.f32 x=x > y=y", "lib.f32 x=x > y=y"),
        _REFUSED,
        "ensemble-twice",
    ),
    case("e_tensor_twice_step", _steps("lib.split x=x > y=y z=y"), _REFUSED, "ensemble-twice"),
    case(
        "e_overwrites_input",
        _steps("lib.f32 x=x > y=x", "lib.f32 x=x > y=y"),
        Verdict.LOADS,
        "ensemble-overwrite",
    ),
    case(
        "e_cycle",
        _steps("lib.two a=x b=back > y=mid", "lib.split x=mid > y=y z=back"),
        _REFUSED,
        "ensemble-cycle",
    ),
    case(
        "e_self_loop",
        _steps("lib.two a=x b=mid > y=mid", "lib.f32 x=mid > y=y"),
        _REFUSED,
        "ensemble-cycle",
    ),
    case(
        "e_island",
        _steps("lib.f32 x=x > y=y", "lib.f32 x=p > y=q", "lib.f32 x=q > y=p"),
        _REFUSED,
        "ensemble-cycle",
    ),
    case(
        "e_input_is_output",
        _io("x:FP32:-1", "y:FP32:-1 x:FP32:-1", "lib.f32 x=x > y=y"),
        request="x:FP32:3",
    ),
    case("e_unknown_input", _steps("lib.f32 wrong=x > y=y"), _REFUSED, "ensemble-map"),
    case("e_extra_input", _steps("lib.f32 x=x wrong=x > y=y"), _REFUSED, "ensemble-map"),
    case("e_unknown_output", _steps("lib.f32 x=x > wrong=y"), _REFUSED, "ensemble-map"),
    case(
        "e_swapped_map",
        edit(_CHAIN, 'key: "x" value: "mid"', 'key: "mid" value: "x"'),
        _REFUSED,
        "ensemble-map",
    ),
    case("e_unmapped_input", _steps("lib.two a=x > y=y"), _REFUSED, "ensemble-map"),
    case("e_optional_unmapped", _steps("lib.opt x=x > y=y"), request="x:FP32:3"),
    case(
        "e_optional_passed",
        _io("x:FP32:-1 z?:FP32:-1", "y:FP32:-1", "lib.opt x=x z=z > y=y"),
        request="x:FP32:3",
    ),
    case(
        "e_optional_to_required",
        _io("x:FP32:-1 z?:FP32:-1", "y:FP32:-1", "lib.two a=x b=z > y=y"),
        _FAILS,
        "ensemble-optional",
        request="x:FP32:3",
    ),
    case("e_output_ignored", _steps("lib.split x=x > y=y"), request="x:FP32:3"),
    case("e_fan_out", _steps("lib.two a=x b=x > y=y"), request="x:FP32:3"),
    case(
        "e_map_key_twice",
        edit(_ONE, "    output_map", '    input_map { key: "x" value: "x" }\n    output_map'),
    ),
    # types
    case(
        "e_type_in", _io("x:INT32:-1", "y:FP32:-1", "lib.f32 x=x > y=y"), _REFUSED, "ensemble-type"
    ),
    case(
        "e_type_out", _io("x:FP32:-1", "y:INT32:-1", "lib.f32 x=x > y=y"), _REFUSED, "ensemble-type"
    ),
    case(
        "e_type_middle",
        _steps("lib.cast x=x > y=mid", "lib.f32 x=mid > y=y"),
        _REFUSED,
        "ensemble-type",
    ),
    case(
        "e_type_ids",
        _io("x:INT32:-1", "y:INT64:-1", "lib.i32 x=x > y=mid", "lib.i64 x=mid > y=y"),
        _REFUSED,
        "ensemble-type",
    ),
    case(
        "e_type_half", _io("x:FP16:-1", "y:FP32:-1", "lib.f32 x=x > y=y"), _REFUSED, "ensemble-type"
    ),
    case(
        "e_type_fan",
        _io("x:FP32:-1", "y:FP32:-1 z:INT32:-1", "lib.f32 x=x > y=y", "lib.i32 x=x > y=z"),
        _REFUSED,
        "ensemble-type",
    ),
    # shapes
    case(
        "e_shape_in", _io("x:FP32:3", "y:FP32:4", "lib.fix4 x=x > y=y"), _REFUSED, "ensemble-shape"
    ),
    case(
        "e_shape_out", _io("x:FP32:4", "y:FP32:5", "lib.fix4 x=x > y=y"), _REFUSED, "ensemble-shape"
    ),
    case(
        "e_shape_rank",
        _io("x:FP32:-1", "y:FP32:-1,-1", "lib.f32 x=x > y=y"),
        _REFUSED,
        "ensemble-shape",
    ),
    case(
        "e_shape_rank_middle",
        _steps("lib.f32 x=x > y=mid", "lib.mat x=mid > y=y"),
        _REFUSED,
        "ensemble-shape",
    ),
    case(
        "e_shape_wild",
        _io("x:FP32:-1", "y:FP32:-1", "lib.fix4 x=x > y=y"),
        Verdict.LOADS,
        request="x:FP32:4",
    ),
    case(
        "e_shape_fixed_to_wild",
        _io("x:FP32:4", "y:FP32:4", "lib.f32 x=x > y=mid", "lib.fix4 x=mid > y=y"),
        request="x:FP32:4",
    ),
    case(
        "e_shape_wild_request",
        _io("x:FP32:-1", "y:FP32:-1", "lib.fix4 x=x > y=y"),
        Verdict.FAILS,
        request="x:FP32:3",
    ),
    # batches
    case("e_batch_big", _steps("lib.f32b4 x=x > y=y", batch=8), _REFUSED, "ensemble-batch"),
    case("e_batch_smaller", _steps("lib.f32b8 x=x > y=y", batch=4), request="x:FP32:2,3"),
    case(
        "e_batch_over_plain",
        _steps("lib.f32 x=x > y=y", batch=4),
        _FAILS,
        "ensemble-batch-mix",
        request="x:FP32:2,3",
    ),
    case("e_batch_over_plain_wide", _steps("lib.mat x=x > y=y", batch=4), request="x:FP32:2,3"),
    case(
        "e_batch_over_fix",
        _io("x:FP32:4", "y:FP32:4", "lib.fix4 x=x > y=y", batch=4),
        _FAILS,
        "ensemble-batch-mix",
        request="x:FP32:2,4",
    ),
    case(
        "e_batch_over_row",
        _io("x:FP32:4", "y:FP32:4", "lib.row4 x=x > y=y", batch=4),
        _FAILS,
        "ensemble-batch-mix",
        request="x:FP32:2,4",
    ),
    case("e_plain_over_batched", _steps("lib.f32b8 x=x > y=y"), request="x:FP32:3"),
    case(
        "e_plain_over_batched_wide",
        _io("x:FP32:-1,-1", "y:FP32:-1,-1", "lib.f32b8 x=x > y=y"),
        request="x:FP32:2,3",
    ),
    case(
        "e_plain_over_batched_row",
        _io("x:FP32:1,4", "y:FP32:1,4", "lib.fix4b8 x=x > y=y"),
        request="x:FP32:1,4",
    ),
    case(
        "e_plain_over_batched_fix",
        _io("x:FP32:4", "y:FP32:4", "lib.fix4b8 x=x > y=y"),
        request="x:FP32:4",
    ),
    case(
        "e_batch_in_dims",
        _io("x:FP32:-1,-1", "y:FP32:-1,-1", "lib.f32b8 x=x > y=y", batch=4),
        _REFUSED,
        "ensemble-shape",
    ),
    case(
        "e_mixed_chain", _steps("lib.f32 x=x > y=mid", "lib.f32b8 x=mid > y=y"), request="x:FP32:3"
    ),
    case(
        "e_mixed_chain_wide",
        _io("x:FP32:-1,-1", "y:FP32:-1", "lib.mat x=x > y=mid", "lib.f32b8 x=mid > y=y", batch=4),
        _FAILS,
        "ensemble-batch-mix",
        request="x:FP32:2,3,4",
    ),
    case(
        "e_reshape_in",
        edit(
            _io("x:FP32:4", "y:FP32:2,2", "lib.mat x=x > y=y"),
            "dims: [ 4 ]",
            "dims: [ 4 ] reshape { shape: [ 2, 2 ] }",
        ),
        request="x:FP32:4",
    ),
    case(
        "e_reshape_out",
        edit(
            _io("x:FP32:2,2", "y:FP32:4", "lib.mat x=x > y=y"),
            "dims: [ 4 ]",
            "dims: [ 4 ] reshape { shape: [ 2, 2 ] }",
        ),
        request="x:FP32:2,2",
    ),
    case(
        "e_pairs_in_one_map",
        edit(
            _steps("lib.two a=x b=x > y=y"),
            'value: "x" }\n    input_map { key: "b"',
            'value: "x" key: "b"',
        ),
        _REFUSED,
        "syntax",
    ),
    case(
        "e_map_list",
        edit(_ONE, 'input_map { key: "x" value: "x" }', 'input_map: [ { key: "x", value: "x" } ]'),
        request="x:FP32:3",
    ),
    case(
        "e_inflight",
        edit(
            _ONE, "ensemble_scheduling {\n", "ensemble_scheduling {\n  max_inflight_requests: 4\n"
        ),
        _REFUSED,
        "unknown-field",
    ),
    case(
        "e_input_twice",
        _io("x:FP32:-1 x:FP32:-1", "y:FP32:-1", "lib.f32 x=x > y=y"),
        _FAILS,
        "tensor-twice",
        request="x:FP32:3",
    ),
    case("e_no_inputs", _io("", "y:FP32:-1", "lib.f32 x=x > y=y"), _REFUSED, "ensemble-undefined"),
    case("e_no_outputs", _io("x:FP32:-1", "", "lib.f32 x=x > y=y"), _REFUSED, "ensemble-unused"),
]
