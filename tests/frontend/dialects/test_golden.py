"""What the real engine sent once becomes, byte for byte, what the gateway made of it then."""

import json

import pytest

from frontend.domain.events import Event
from tests.golden.cases import CASES, FOLDER, read


@pytest.mark.parametrize("name", CASES)
def test_a_transcript_is_rendered_as_it_was(name: str) -> None:
    dialect, request = CASES[name]
    told = json.loads((FOLDER / f"{name}.json").read_text())
    assert (told["dialect"], told["request"]) == (dialect, request), "record it again"
    groups = [[Event(**event) for event in group] for group in told["events"]]
    reading = read(dialect, request)
    assert reading.whole(groups) == told["whole"]
    assert reading.stream(groups).split("\n\n") == told["stream"]


def test_every_transcript_is_of_a_case() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES)
