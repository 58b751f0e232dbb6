"""What Tab offers in a chat and in a session with an image model."""

from pathlib import Path

import pytest

from toolkit.chat.client import Client
from toolkit.chat.commands import COMMANDS, argument_words
from toolkit.chat.completion import complete
from toolkit.chat.image_session import _complete as complete_for_images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("chat.json", "photo.png", ".hidden", "a b.png", "more/inside.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def offered(line: str) -> list[str]:
    """The whole lines that Tab makes of this one; there is no gateway."""
    arguments = argument_words(Client("http://127.0.0.1:1"))
    return [line[: len(line) - each.length] + each.text for each in complete(line, arguments)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/s", ["/set", "/show", "/system", "/save"]),
        ("/set temp", ["/set temperature"]),
        ("/set no", ["/set noformat", "/set nothink", "/set nohistory"]),
        ("/set think h", ["/set think high"]),
        ("/set format j", ["/set format json"]),
        ("/set seed d", ["/set seed default"]),
        ("/set system d", []),
        ("/show m", ["/show messages"]),
        ("/load ch", ["/load chat.json"]),
        ("/image mo", ["/image more/"]),
        ("/image photo.png more/", ["/image photo.png more/inside.png"]),
        ("/tools ", ["/tools none", "/tools chat.json", "/tools more/", "/tools photo.png"]),
        ("/save .", ["/save .hidden"]),
        ("/model s", []),
        ("/clear x", []),
        ("what is ./ph", ["what is ./photo.png"]),
        ("what is ph", []),
        ("/nowhere/at all/", []),
        ("", []),
    ],
)
def test_the_rest_of_a_word_is_offered(folder: Path, line: str, expected: list[str]) -> None:
    assert offered(line) == expected


def test_an_absolute_path_is_not_a_command(folder: Path) -> None:
    assert offered(f"{folder}/ph") == [f"{folder}/photo.png"]
    assert offered(f"/image {folder}/ph") == [f"/image {folder}/photo.png"]


def test_every_command_can_be_completed() -> None:
    assert set(offered("/")) >= {*COMMANDS}


def test_image_sessions_complete_their_own_words() -> None:
    assert [each.text for each in complete_for_images("/set s")] == ["size", "steps", "seed"]
    assert [each.text for each in complete_for_images("/set size d")] == ["default"]
    assert {each.text for each in complete_for_images("/")} >= {"/set", "/show", "/help", "/bye"}
