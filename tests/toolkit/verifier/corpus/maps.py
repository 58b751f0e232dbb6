"""Keys that appear twice in a map."""

from tests.toolkit.verifier.corpus.dsl import Case, Files, Verdict, case, edit, ensemble, python

_REFUSED, _LOADS = Verdict.REFUSED, Verdict.LOADS
_IO = ("x:FP32:-1", "y:FP32:-1")
_TWICE = "map-key-twice"


def _before(kind: str, key: str, value: str, *steps: str, outputs: str = "y:FP32:-1") -> Files:
    """An ensemble with an entry in front of the first one of its kind, as a map or inside one."""
    files = ensemble("x:FP32:-1", outputs, *(steps or ("lib.f32 x=x > y=y",)))
    config = files["@/config.pbtxt"]
    entry = f'{kind} {{ key: "{key}" value: "{value}" }}\n    '
    return {**files, "@/config.pbtxt": config.replace(f"{kind} {{", f"{entry}{kind} {{", 1)}


CASES: list[Case] = [
    case("map_output_twice", _before("output_map", "y", "mid"), _LOADS, _TWICE, request="x:FP32:3"),
    case("map_output_same", _before("output_map", "y", "y"), request="x:FP32:3"),
    case("map_input_twice", _before("input_map", "x", "q"), _LOADS, _TWICE, request="x:FP32:3"),
    case(
        "map_output_lost",
        _before("output_map", "y", "y", "lib.f32 x=x > y=mid"),
        _REFUSED,
        _TWICE,
    ),
    case(
        "map_output_lost_step",
        _before("output_map", "y", "mid", "lib.f32 x=x > y=y", "lib.two a=mid b=y > y=z"),
        _REFUSED,
        _TWICE,
    ),
    case(
        "map_output_lost_second",
        _before("output_map", "y", "mid", outputs="y:FP32:-1 mid:FP32:-1"),
        _REFUSED,
        _TWICE,
    ),
    case("map_input_lost", _before("input_map", "x", "x", "lib.f32 x=q > y=y"), _REFUSED, _TWICE),
    case(
        "map_output_in_two_steps",
        ensemble(*_IO, "lib.f32 x=x > y=mid", "lib.f32 x=mid > y=y"),
        request="x:FP32:3",
    ),
    case(
        "map_parameter_twice",
        python(
            more=(
                'parameters { key: "a" value { string_value: "1" } }\n'
                'parameters { key: "a" value { string_value: "2" } }\n'
            )
        ),
        _LOADS,
        _TWICE,
    ),
    case(
        "map_parameter_other",
        edit(
            python(more='parameters { key: "a" value { string_value: "1" } }\nMORE'),
            "MORE",
            'parameters { key: "b" value { string_value: "1" } }\n',
        ),
    ),
]
