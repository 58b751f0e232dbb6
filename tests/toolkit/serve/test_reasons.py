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


LOG = """I1126 22:45:17.1 31686 python_be.cc:1 loading
(Worker pid=2) ERROR 11-26 22:45:17 [multiproc_executor.py:99] Traceback (most recent call last):
(EngineCore pid=1) ERROR 11-26 22:45:17 [core.py:1510]     raise ValueError(
(EngineCore pid=1) ERROR 11-26 22:45:17 [core.py:1510] {error}
(EngineCore pid=1) ERROR 11-26 22:45:18 [core.py:1510] RuntimeError: Engine core initialization
"""
REASON = f"{BEGIN}Internal: RuntimeError: Engine core initialization failed. See root cause above."


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            "ValueError: No available memory for the cache blocks. Try increasing `x` when",
            "No available memory for the cache blocks",
        ),
        ("KeyError: 'lm_head.weight'", "KeyError: 'lm_head.weight'"),
        (
            "safetensors_rust.SafetensorError: incomplete metadata, file not fully covered",
            "SafetensorError: incomplete metadata, file not fully covered; a file of weights is"
            " damaged: run `toolkit build-repo` again",
        ),
    ],
)
def test_the_cause_of_an_engines_failure_is_in_the_log(error: str, sentence: str) -> None:
    log = LOG.format(error=error)
    assert plain(f"{REASON} Failed core proc(s): {{'EngineCore': 1}}", log) == sentence
    assert plain(f"{BEGIN}Internal: RuntimeError: other", log) == "RuntimeError: other"


def test_an_empty_file_of_weights_is_named() -> None:
    said = plain(f"{BEGIN}Internal: error: unpack requires a buffer of 8 bytes\n\nAt:\n  x.py(1)")
    assert said == (
        "unpack requires a buffer of 8 bytes; a file of weights is damaged: run"
        " `toolkit build-repo` again"
    )


def test_an_engine_that_was_killed_is_told_so() -> None:
    assert "killed by signal 9" in plain(f"{REASON} Failed core proc(s): {{'EngineCore': -9}}")


def test_it_is_never_long() -> None:
    assert len(plain(BEGIN + "x" * 10_000)) < 500
