"""Sources read as they are written."""

import pytest

from toolkit.fields.source import HubSource, PackageSource, PathSource, parse_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("package:a-b==1.2/c/d.gguf", PackageSource("a-b==1.2", "c/d.gguf")),
        ("package:a==1.0+cpu/c", PackageSource("a==1.0+cpu", "c")),
        ("path:examples/emoji", PathSource("examples/emoji")),
        ("path:/abs", PathSource("/abs")),
        ("hf:org/name", HubSource("org/name", None)),
        ("hf:org/na.me@refs/pr/1", HubSource("org/na.me", "refs/pr/1")),
    ],
)
def test_round_trip(text: str, source: object) -> None:
    assert parse_source(text) == source
    assert str(source) == text
