"""`toolkit doctor`: findings as text and as JSON, and the exit code."""

import json

from typer.testing import CliRunner

from tests.support.machines import FakeMachine
from toolkit.cli import app

runner = CliRunner()
AVX2 = {"/proc/cpuinfo": "flags : avx2\n"}


def test_findings_on_stdout_and_the_sum_on_stderr() -> None:
    result = runner.invoke(app, ["doctor"], obj=FakeMachine(libpython=None))
    assert result.exit_code == 1
    assert "✓ python     Python 3.11.2" in result.stdout
    assert "✗ libpython  libpython3.11.so.1.0 is missing" in result.stdout
    assert "fix: Debian, Ubuntu: apt-get install libpython3.11" in result.stdout
    assert result.stderr.strip() == "target embedded: errors 1, warnings 0, passed 10"


def test_scripts_read_json_and_the_exit_code() -> None:
    sound = runner.invoke(app, ["doctor", "--json"], obj=FakeMachine())
    assert sound.exit_code == 0
    assert json.loads(sound.stdout)["ok"] is True
    weak = FakeMachine(files=AVX2)
    assert runner.invoke(app, ["doctor"], obj=weak).exit_code == 0
    strict = runner.invoke(app, ["doctor", "--strict", "--json"], obj=weak)
    assert strict.exit_code == 1
    document = json.loads(strict.stdout)
    (finding,) = [each for each in document["findings"] if each["code"] == "processor"]
    assert finding["severity"] == "warning"
    assert finding["fix"]
