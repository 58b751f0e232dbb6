"""README's Python example works unchanged with the default models."""

import re
import subprocess
import sys

from tests.support.processes import ROOT, Service


def test_the_sdk_example_runs(service: Service) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "http://127.0.0.1:9000/v1" in example
    code = example.replace("http://127.0.0.1:9000", service.url)
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    answer, dimensions, image = ran.stdout.strip().rsplit("\n", 2)
    assert "Paris" in answer
    assert dimensions == "384"
    assert int(image) > 100
