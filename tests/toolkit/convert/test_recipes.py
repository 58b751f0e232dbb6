"""Recipes by kind and source; parity limits; silence while libraries work."""

import logging
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from toolkit.convert import recipes
from toolkit.convert.parity import check_close, check_distributions
from toolkit.convert.quiet import quiet
from toolkit.convert.recipes import key_of, load
from toolkit.errors import ConvertError, MissingExtra
from toolkit.kinds import all_kinds
from toolkit.kinds.conversion import Conversion, Rate


@pytest.mark.parametrize(
    ("kind", "source", "module"),
    [
        ("llm", "a/model.gguf", "toolkit.convert.gguf"),
        ("llm", "a/folder", "toolkit.convert.checkpoint"),
        ("embedding", "a", "toolkit.convert.encoder"),
        ("diffusion", "a", "toolkit.convert.diffusion"),
    ],
)
def test_recipe_by_kind_and_source(kind: str, source: str, module: str) -> None:
    assert all_kinds()[kind].conversion(Path(source)).module == module


def conversion(
    revision: int = 1, module: str = "m", libraries: tuple[str, ...] = ("torch",)
) -> Conversion:
    return Conversion(module, "f", revision, libraries, "a title", Rate(1, 1))


def test_a_key_covers_source_revision_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    one = conversion()
    keys = {
        key_of(one, "sha256:a"),
        key_of(one, "sha256:b"),
        key_of(conversion(2), "sha256:a"),
    }
    monkeypatch.setattr(recipes, "version", lambda _: "9.9")
    keys.add(key_of(one, "sha256:a"))
    assert len(keys) == 4


def test_missing_libraries_name_the_extra() -> None:
    with pytest.raises(MissingExtra, match="it lacks no-such-library"):
        key_of(conversion(libraries=("no-such-library",)), "sha256:a")
    with pytest.raises(MissingExtra, match="needs the extra 'weights'"):
        load(conversion(module="no_such_module"))


def test_differences_beyond_the_limit_are_refused() -> None:
    one = np.zeros((2, 3), dtype=np.float32)
    assert check_close("part", one, one + 0.5, 0.6) == 0.5
    with pytest.raises(ConvertError, match=r"part: .* differs by 0\.5 .* more than 0\.1"):
        check_close("part", one, one + 0.5, 0.1)
    with pytest.raises(ConvertError, match="differs by nan"):
        check_close("part", one * np.nan, one, 0.1)
    with pytest.raises(ConvertError, match="shape changed"):
        check_close("part", one, one.T, 0.1)


def test_divergence_beyond_the_limit_is_refused() -> None:
    logits = np.array([[0.0, 1.0, 2.0]])
    assert check_distributions("part", logits + 7, logits, 1e-9) < 1e-9
    with pytest.raises(ConvertError, match="nats"):
        check_distributions("part", -logits, logits, 0.01)


def test_quiet_keeps_what_was_said_for_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        sys.stdout.write("about to break\n")
        sys.stderr.write("really\n")
        warnings.warn("not shown", stacklevel=1)
        logging.getLogger("library").error("not shown")
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as caught, quiet():
        work()
    assert caught.value.__notes__ == ["about to break\nreally"]
    said = capsys.readouterr()
    assert said.out + said.err == ""
