"""Batch sizes, queues, caches, sequences and warm-up."""

from tests.toolkit.verifier.corpus.dsl import Case, Files, Verdict, case, python

_REFUSED = Verdict.REFUSED


def _dynamic(text: str, batch: int = 4) -> Files:
    return python(batch=batch, more=f"dynamic_batching {{ {text} }}\n")


def _sequence(text: str, batch: int = 4, more: str = "") -> Files:
    return python(batch=batch, more=f"sequence_batching {{ {text} }}\n{more}")


def _control(name: str, kind: str, values: str) -> str:
    return (
        f'control_input {{ name: "{name}" control {{ kind: CONTROL_SEQUENCE_{kind} {values} }} }}'
    )


def _state(initial: str) -> str:
    return (
        ' state { input_name: "si" output_name: "so" data_type: TYPE_FP32 dims: [ 2 ] '
        f"initial_state {{ {initial} }} }}"
    )


def _warmup(text: str, batch: int = 4) -> Files:
    return python(batch=batch, more=f'model_warmup {{ name: "w" {text} }}\n')


_START = _control("START", "START", "int32_false_true: [ 0, 1 ]")
_X = 'inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3 ] zero_data: true } }'

CASES: list[Case] = [
    case(
        "batch_good",
        _dynamic("preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 100"),
        request="x:FP32:2,3",
    ),
    case("batch_negative", python(batch=-1), _REFUSED, "max-batch-size"),
    case(
        "batch_preferred_big",
        _dynamic("preferred_batch_size: [ 2, 8 ]"),
        _REFUSED,
        "preferred-batch-size",
    ),
    case(
        "batch_preferred_zero",
        _dynamic("preferred_batch_size: [ 0 ]"),
        _REFUSED,
        "preferred-batch-size",
    ),
    case(
        "batch_preferred_unbatched",
        _dynamic("preferred_batch_size: 4", batch=0),
        _REFUSED,
        "preferred-batch-size",
    ),
    case("batch_unbatched", _dynamic("", batch=0), Verdict.LOADS, "batching-unbatched"),
    case(
        "batch_unbatched_delay",
        _dynamic("max_queue_delay_microseconds: 5", batch=0),
        Verdict.LOADS,
        "batching-unbatched",
    ),
    case("batch_delay_negative", _dynamic("max_queue_delay_microseconds: -1"), _REFUSED, "syntax"),
    case("priority_default", _dynamic("priority_levels: 2"), _REFUSED, "priority"),
    case(
        "priority_default_big",
        _dynamic("priority_levels: 2 default_priority_level: 3"),
        _REFUSED,
        "priority",
    ),
    case("priority_good", _dynamic("priority_levels: 2 default_priority_level: 1")),
    case(
        "priority_policy",
        _dynamic(
            "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value { "
            "max_queue_size: 1 } }"
        ),
        _REFUSED,
        "priority",
    ),
    case(
        "ordering_levels",
        _dynamic("preserve_ordering: true priority_levels: 2 default_priority_level: 1"),
        _REFUSED,
        "priority",
    ),
    case(
        "ordering_delay",
        _dynamic(
            "preserve_ordering: true default_queue_policy { timeout_action: DELAY "
            "default_timeout_microseconds: 5 }"
        ),
        _REFUSED,
        "priority",
    ),
    case(
        "ordering_policy_delay",
        _dynamic(
            "preserve_ordering: true priority_levels: 1 default_priority_level: 1 "
            "priority_queue_policy { key: 1 value { timeout_action: DELAY "
            "default_timeout_microseconds: 5 } }"
        ),
        _REFUSED,
        "priority",
    ),
    case(
        "dynamic_and_sequence",
        python(batch=4, more="dynamic_batching { }\nsequence_batching { }\n"),
        _REFUSED,
        "syntax",
    ),
    case(
        "cache_decoupled",
        python(
            more="response_cache { enable: true }\nmodel_transaction_policy { decoupled: true }\n"
        ),
        _REFUSED,
        "cache",
    ),
    case(
        "cache_sequence",
        _sequence(_START, more="response_cache { enable: true }\n"),
        _REFUSED,
        "cache",
    ),
    # without a request: over a stream the first answer of a cached Python model is "response output
    # count mismatch" in this release; single calls, which the gateway makes here, are answered
    case("cache_plain", python(more="response_cache { enable: true }\n")),
    case("sequence_good", _sequence(_START)),
    case("sequence_unbatched", _sequence(_START, batch=0)),
    case("sequence_oldest", _sequence("oldest { max_candidate_sequences: 4 } " + _START)),
    case("sequence_oldest_none", _sequence("oldest { } " + _START)),
    case(
        "sequence_preferred",
        _sequence("oldest { max_candidate_sequences: 4 preferred_batch_size: 8 } " + _START),
        _REFUSED,
        "preferred-batch-size",
    ),
    case(
        "sequence_slots",
        _sequence("direct { minimum_slot_utilization: 1.5 } " + _START),
        _REFUSED,
        "sequence",
    ),
    case("sequence_no_values", _sequence(_control("START", "START", "")), _REFUSED, "sequence"),
    case(
        "sequence_three_values",
        _sequence(_control("START", "START", "int32_false_true: [ 0, 1, 2 ]")),
        _REFUSED,
        "sequence",
    ),
    case(
        "sequence_two_types",
        _sequence(
            _control("START", "START", "int32_false_true: [ 0, 1 ] fp32_false_true: [ 0, 1 ]")
        ),
        _REFUSED,
        "sequence",
    ),
    case(
        "sequence_no_name",
        _sequence(_control("", "START", "int32_false_true: [ 0, 1 ]")),
        _REFUSED,
        "sequence",
    ),
    case("sequence_twice", _sequence(_START + _START), _REFUSED, "sequence"),
    case(
        "sequence_kind_twice",
        _sequence(_START + _control("S2", "START", "int32_false_true: [ 0, 1 ]")),
        _REFUSED,
        "sequence",
    ),
    case(
        "sequence_corrid",
        _sequence(_control("ID", "CORRID", "data_type: TYPE_FP32")),
        _REFUSED,
        "sequence",
    ),
    case("sequence_corrid_good", _sequence(_control("ID", "CORRID", "data_type: TYPE_UINT64"))),
    case(
        "sequence_corrid_values",
        _sequence(_control("ID", "CORRID", "data_type: TYPE_UINT64 int32_false_true: [ 0, 1 ]")),
        _REFUSED,
        "sequence",
    ),
    case(
        "sequence_state",
        _sequence(
            _START
            + ' state { input_name: "si" output_name: "so" data_type: TYPE_FP32 dims: [ 2 ] }'
        ),
    ),
    case(
        "sequence_state_dims",
        _sequence(
            _START
            + ' state { input_name: "si" output_name: "so" data_type: TYPE_FP32 dims: [ -1 ] }'
        ),
    ),
    case(
        "sequence_state_init",
        _sequence(
            _START + ' state { input_name: "si" output_name: "so" data_type: TYPE_FP32 dims: [ 2 ] '
            'initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2 ] data_file: "none" } }'
        ),
        _REFUSED,
        "sequence-state",
    ),
    case("warmup_good", _warmup(f"batch_size: 1 {_X}")),
    case("warmup_batch_big", _warmup(f"batch_size: 8 {_X}"), _REFUSED, "warmup"),
    case("warmup_no_batch", _warmup(_X)),
    case("warmup_no_inputs", _warmup("batch_size: 1"), _REFUSED, "warmup"),
    case(
        "warmup_unknown",
        _warmup(
            'batch_size: 1 inputs { key: "q" value { data_type: TYPE_FP32 dims: [ 3 ] zero_data: '
            "true } }"
        ),
        _REFUSED,
        "warmup",
    ),
    case(
        "warmup_type",
        _warmup(
            'batch_size: 1 inputs { key: "x" value { data_type: TYPE_INT32 dims: [ 3 ] '
            "zero_data: true } }"
        ),
        _REFUSED,
        "warmup",
    ),
    case(
        "warmup_wild",
        _warmup(
            'batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ -1 ] '
            "zero_data: true } }"
        ),
        _REFUSED,
        "warmup",
    ),
    case(
        "warmup_file",
        _warmup(
            'batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3 ] '
            'input_data_file: "absent" } }'
        ),
        _REFUSED,
        "warmup",
    ),
    case(
        "warmup_no_data",
        _warmup('batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3 ] } }'),
        _REFUSED,
        "warmup",
    ),
    case(
        "warmup_dims",
        _warmup(
            'batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3, 3 ] '
            "zero_data: true } }"
        ),
        _REFUSED,
        "warmup",
    ),
    case("warmup_unbatched", _warmup(f"batch_size: 1 {_X}", batch=0)),
    case(
        "sequence_state_type",
        _sequence(_START + _state('name: "i" data_type: TYPE_INT32 dims: [ 2 ] zero_data: true')),
        _REFUSED,
        "sequence-state",
    ),
    case(
        "sequence_state_name",
        _sequence(_START + _state("data_type: TYPE_FP32 dims: [ 2 ] zero_data: true")),
        _REFUSED,
        "sequence-state",
    ),
    case(
        "sequence_state_good",
        _sequence(_START + _state('name: "i" data_type: TYPE_FP32 dims: [ 2 ] zero_data: true')),
    ),
]
