"""onnxruntime on CUDA, called directly: a process in the CUDA environment, beside which we measure.

`python -m benchmarks.gpu.direct ENCODER TOKENIZER` reads batch sizes from stdin and answers each
with texts per second.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.embeddings import TEXTS, Direct, make_texts


class Remote:
    """`Direct` in another process; it asks for the same texts."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def texts_per_s(self, texts: list[str], batch: int) -> float:
        assert texts == make_texts(TEXTS)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{batch}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextmanager
def remote(python: Path, encoder: Path, tokenizer: Path, root: Path) -> Iterator[Remote]:
    """Runs the peer with this interpreter until the block ends."""
    command = [str(python), "-m", "benchmarks.gpu.direct", str(encoder), str(tokenizer)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        yield Remote(process)


def main() -> None:
    encoder, tokenizer = map(Path, sys.argv[1:3])
    direct, texts = Direct(encoder, tokenizer, cuda=True), make_texts(TEXTS)
    for line in sys.stdin:
        print(direct.texts_per_s(texts, int(line)), flush=True)


if __name__ == "__main__":
    main()
