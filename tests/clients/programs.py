"""Which programs there are, what to install for each, and how one is run.

An environment is named by the digest of its pins and kept in the toolkit's home. A script gets the
service's URL in `GATEWAY` and the models' names in `CHAT`, `EMBEDDING`; it fails by its exit code.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from toolkit.home import home

SCRIPTS = Path(__file__).parent / "scripts"
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Program:
    """A client program. `slow` ones take gigabytes or many minutes to install."""

    name: str
    speaks: str
    packages: tuple[str, ...]
    slow: bool = False

    @property
    def script(self) -> Path:
        """What is run with the program's own Python."""
        return SCRIPTS / f"{self.name.replace('-', '_')}.py"


PROGRAMS = (
    Program("langchain-anthropic", "Anthropic", ("langchain-anthropic==1.7.10",)),
    Program("langchain-ollama", "Ollama", ("langchain-ollama==1.1.0",)),
    Program("langchain-openai", "OpenAI", ("langchain-openai==1.7.3",)),
    Program(
        "llama-index",
        "Ollama",
        ("llama-index-llms-ollama==0.11.0", "llama-index-embeddings-ollama==0.10.0"),
    ),
    Program("litellm", "all three", ("litellm==1.110.2",)),
    Program("llm", "Ollama", ("llm==0.36", "llm-ollama==0.19.1")),
    Program("openai-agents", "OpenAI", ("openai-agents==0.24.0",)),
    Program("openai-2", "OpenAI", ("openai==2.54.0",)),
    Program("aider", "both", ("aider-chat==0.86.2",), slow=True),
    Program("open-webui", "both", ("torch==2.13.0", "open-webui==0.12.4"), slow=True),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program fared."""

    program: Program
    passed: bool
    seconds: float
    output: str


def run(program: Program, url: str, models: dict[str, str]) -> Outcome:
    """Installs the program if need be, and runs its script in an empty folder."""
    python = _environment(program) / "bin" / "python"
    start = time.monotonic()
    with TemporaryDirectory() as scratch:
        environment = {
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "HOME": scratch,
            "LANG": "C.UTF-8",
            "GATEWAY": url,
            "OLLAMA_HOST": url,
            "PYTHONDONTWRITEBYTECODE": "1",
            **models,
        }
        done = subprocess.run(
            [str(python), "-P", str(program.script)],
            check=False,
            cwd=scratch,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    output = (done.stdout + done.stderr).strip()
    return Outcome(program, done.returncode == 0, time.monotonic() - start, output)


def _environment(program: Program) -> Path:
    digest = hashlib.sha256("\n".join(program.packages).encode()).hexdigest()[:12]
    root = home() / "clients" / f"{program.name}-{digest}"
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        venv.create(root, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python")]
        quiet = ["install", "--quiet", "--disable-pip-version-check"]
        if program.packages[0].startswith("torch"):
            subprocess.run([*pip, *quiet, program.packages[0]], check=True)
        subprocess.run([*pip, *quiet, *program.packages], check=True)
        (root / "complete").touch()
    return root
