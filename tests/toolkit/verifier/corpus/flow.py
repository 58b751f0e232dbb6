"""Decoupled steps in ensembles, order, and caches of ensembles."""

from tests.toolkit.verifier.corpus.dsl import Case, Files, Verdict, case, ensemble, python

_REFUSED = Verdict.REFUSED
_IO = ("x:FP32:-1", "y:FP32:-1")
_DECOUPLED = "model_transaction_policy { decoupled: true }\n"


def _flow(*steps: str, more: str = _DECOUPLED, outputs: str = "y:FP32:-1") -> Files:
    return ensemble("x:FP32:-1", outputs, *steps, more=more)


CASES: list[Case] = [
    case("d_alone", _flow("lib.dec x=x > y=y"), request="x:FP32:3"),
    case("d_undeclared", _flow("lib.dec x=x > y=y", more=""), Verdict.LOADS, "ensemble-decoupled"),
    case("d_declared_falsely", _flow("lib.f32 x=x > y=y"), Verdict.LOADS, "ensemble-decoupled"),
    case("d_then_plain", _flow("lib.dec x=x > y=mid", "lib.f32 x=mid > y=y"), request="x:FP32:3"),
    case("d_after_plain", _flow("lib.f32 x=x > y=mid", "lib.dec x=mid > y=y"), request="x:FP32:3"),
    case("d_then_d", _flow("lib.dec x=x > y=mid", "lib.dec x=mid > y=y"), request="x:FP32:3"),
    case(
        "d_then_pair",
        _flow("lib.dec x=x > y=mid", "lib.pair x=mid > y=y"),
        Verdict.LOADS,
        "ensemble-order",
    ),
    case(
        "d_join_input",
        _flow("lib.dec x=x > y=mid", "lib.two a=mid b=x > y=y"),
        _REFUSED,
        "ensemble-decoupled-join",
    ),
    case(
        "d_join_two",
        _flow("lib.dec x=x > y=p", "lib.dec x=x > y=q", "lib.two a=p b=q > y=y"),
        _REFUSED,
        "ensemble-decoupled-join",
    ),
    case(
        "d_join_same", _flow("lib.dec2 x=x > y=p z=q", "lib.two a=p b=q > y=y"), request="x:FP32:3"
    ),
    case(
        "d_join_after",
        _flow("lib.dec2 x=x > y=p z=q", "lib.f32 x=q > y=r", "lib.two a=p b=r > y=y"),
        request="x:FP32:3",
    ),
    case(
        "d_two_outputs",
        _flow("lib.dec x=x > y=y", "lib.dec x=x > y=z", outputs="y:FP32:-1 z:FP32:-1"),
        _REFUSED,
        "ensemble-decoupled-join",
    ),
    case(
        "d_output_and_plain",
        _flow("lib.dec x=x > y=y", "lib.f32 x=x > y=z", outputs="y:FP32:-1 z:FP32:-1"),
        _REFUSED,
        "ensemble-decoupled-join",
    ),
    case(
        "d_same_outputs",
        _flow("lib.dec2 x=x > y=y z=z", outputs="y:FP32:-1 z:FP32:-1"),
        request="x:FP32:3",
    ),
    case(
        "d_cache",
        _flow("lib.dec x=x > y=y", more=_DECOUPLED + "response_cache { enable: true }\n"),
        _REFUSED,
        "cache",
    ),
    case(
        "d_cache_undeclared",
        _flow("lib.dec x=x > y=y", more="response_cache { enable: true }\n"),
        _REFUSED,
        "ensemble-cache",
        "ensemble-decoupled",
    ),
    case("e_cache", _flow("lib.f32 x=x > y=y", more="response_cache { enable: true }\n")),
    case(
        "e_sequence_step",
        {
            **_flow("@.s x=x > y=y", more=""),
            **python(
                name="@.s",
                more=(
                    'sequence_batching { control_input { name: "START" control { kind: '
                    "CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }\n"
                ),
            ),
        },
    ),
]
