"""`triton-gateway migrate`, `backup` and `restore` as an operator runs them."""

from pathlib import Path

import pytest

from frontend.__main__ import main


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRITON_FRONTEND_DATA_DIRECTORY", str(tmp_path / "data"))
    return tmp_path / "data" / "gateway.db"


def test_a_database_is_made_saved_and_restored(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["migrate", "--check"]) == 2
    assert main(["migrate"]) == 0
    assert main(["migrate", "--check"]) == 0
    assert "current: revision" in capsys.readouterr().out
    file = str(tmp_path / "saved")
    assert main(["backup", file]) == 0
    assert main(["backup", file]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["restore", "--check", file]) == 0
    assert main(["migrate", "--down", "base"]) == 0
    assert main(["migrate", "--check"]) == 3
    assert main(["backup", "--force", file]) == 1
    assert "run `triton-gateway migrate`" in capsys.readouterr().err
    data.unlink()
    assert main(["restore", file]) == 0
    assert main(["migrate", "--check"]) == 0
    assert main(["migrate", "--down", "0815"]) == 1
    assert "'0815' is not a revision" in capsys.readouterr().err


def test_a_wrong_file_is_named_before_anything_is_made(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("hello")
    assert main(["restore", str(tmp_path / "text")]) == 2
    assert main(["restore", str(tmp_path / "nothing")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'text'} is damaged or is not a backup" in said
    assert f"{tmp_path / 'nothing'}: No such file or directory" in said
    assert not data.exists()
