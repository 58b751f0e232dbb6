"""What Triton passes on of a failed load becomes one sentence."""

import pytest

from toolkit.serve.reasons import plain

BEGIN = "load failed for model 'a': version 1 is at UNAVAILABLE state: "


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            f"{BEGIN}Invalid argument: unable to find backend library for backend 'x', try"
            " specifying runtime on the model configuration.;\n",
            "unable to find backend library for backend 'x', try specifying runtime on the model"
            " configuration.",
        ),
        (
            f"{BEGIN}Internal: RuntimeError: no weights\n\nAt:\n  /a/1/model.py(3): <module>\n;",
            "RuntimeError: no weights",
        ),
        (
            f"{BEGIN}Internal: ValidationError: 1 validation error for ModelConfig\n  Value error,"
            " The architecture X is not supported. [type=value_error, input_value=ArgsKwargs((),"
            " {'model': 'w'}), input_type=ArgsKwargs]\n    For further information visit\n\nAt:\n",
            "The architecture X is not supported.",
        ),
        (
            f'{BEGIN}Internal: InvalidInput: toolkit-error:{{"message": "it was built for'
            ' another server", "status": 400}\n\nAt:\n',
            "it was built for another server",
        ),
        ("something unheard of", "something unheard of"),
    ],
)
def test_one_sentence(reason: str, sentence: str) -> None:
    assert plain(reason) == sentence


def test_it_is_never_long() -> None:
    assert len(plain(BEGIN + "x" * 10_000)) < 500
