"""Steps that only tokenize load transformers without torch."""

import subprocess
import sys

CODE = """
from python_backends.torchless import leave_out_torch
leave_out_torch()
from transformers import AutoTokenizer
import sys
assert AutoTokenizer.__name__ == "AutoTokenizer"
print("torch" in sys.modules)
import torch
print(torch.ones(1).item())
"""


def test_transformers_is_loaded_without_torch_which_stays_importable() -> None:
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "1.0"]
