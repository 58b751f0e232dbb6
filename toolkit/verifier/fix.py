"""Applies the fixes that need no decision: `toolkit verify --fix`.

Each fix changes one thing, reports it, and leaves the rest of the file unchanged. Files are
replaced atomically.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from toolkit.verifier.finding import ModelFinding
from toolkit.verifier.model import CONFIG

_KEEP = ".gitkeep"


def apply_fixes(root: Path, findings: Iterable[ModelFinding]) -> list[str]:
    """Fixes what it can and returns a sentence for each change."""
    done: list[str] = []
    # from the end of a file to its start: a fix may remove a line or change its length
    for finding in sorted(findings, key=_from_the_end):
        fix = _FIXES.get(finding.code)
        change = fix(root / finding.model, finding) if fix else None
        if change and change not in done:
            done.append(change)
    return done


def _from_the_end(finding: ModelFinding) -> tuple[str, int, int]:
    return finding.model, -finding.place.line, -finding.place.column


def write_batch_size(root: Path, models: Iterable[str]) -> list[str]:
    """Writes `max_batch_size: 0` where a config relies on that default."""
    done = []
    for name in models:
        path = root / name / CONFIG
        text = path.read_text() if path.is_file() else ""
        if text and not re.search(r"^\s*max_batch_size\b", text, re.MULTILINE):
            _replace(path, _after_head(text, "max_batch_size: 0"))
            done.append(f"{name}/{CONFIG}: set max_batch_size: 0, which was the default")
    return done


def _after_head(text: str, line: str) -> str:
    """Inserts `line` after the lines that set name, backend and platform."""
    kept = text.splitlines(keepends=True)
    heads = [i for i, each in enumerate(kept) if re.match(r"(name|backend|platform)\s*:", each)]
    place = heads[-1] + 1 if heads else 0
    if heads and not kept[place - 1].endswith("\n"):
        kept[place - 1] += "\n"
    return "".join([*kept[:place], f"{line}\n", *kept[place:]])


def _make_version(model: Path, _: ModelFinding) -> str | None:
    """Makes `1/`: empty for an ensemble, else around a model file that is outside of one."""
    if (model / "1").exists():
        return None
    text = (model / CONFIG).read_text() if (model / CONFIG).is_file() else ""
    loose = [model / name for name in ("model.py", "model.onnx", "model.plan", "model.pt")]
    there = [path for path in loose if path.is_file()]
    if re.search(r"^\s*platform\s*:\s*[\"']ensemble[\"']", text, re.MULTILINE):
        (model / "1").mkdir()
        (model / "1" / _KEEP).touch()
        return f"{model.name}/1: created with a {_KEEP}, so that git keeps it"
    if len(there) == 1:
        (model / "1").mkdir()
        there[0].rename(model / "1" / there[0].name)
        return f"{model.name}/{there[0].name}: moved to {model.name}/1/{there[0].name}"
    return None


def _rename_model(model: Path, finding: ModelFinding) -> str | None:
    return _edit(model, finding, f'"{model.name}"')


def _rename_config(model: Path, _: ModelFinding) -> str | None:
    candidates = [each for each in model.iterdir() if each.name.startswith("config.pb")]
    # several candidates need a decision
    if len(candidates) != 1 or (model / CONFIG).exists():
        return None
    candidates[0].rename(model / CONFIG)
    return f"{model.name}/{candidates[0].name}: renamed to {CONFIG}"


def _newest_version(model: Path, finding: ModelFinding) -> str | None:
    """Only if no version is set: the default is version 0, which is rarely intended."""
    if "is not set" not in finding.text:
        return None
    path = model / CONFIG
    kept = path.read_text().splitlines(keepends=True)
    line = kept[finding.place.line - 1]
    head, brace, tail = line.partition("{")
    if not brace:
        return None
    kept[finding.place.line - 1] = f"{head}{{ model_version: -1{tail}"
    _replace(path, "".join(kept))
    return f"{model.name}/{CONFIG}:{finding.place.line}: set model_version: -1, the newest"


def _first_of_ours(pattern: str) -> Callable[[Path, ModelFinding], str | None]:
    """A fix that removes the finding's line if it contains only `pattern`."""

    def remove(model: Path, finding: ModelFinding) -> str | None:
        path = model / CONFIG
        kept = path.read_text().splitlines(keepends=True)
        line = kept[finding.place.line - 1] if 0 < finding.place.line <= len(kept) else ""
        if not re.fullmatch(pattern, line.strip()):
            return None
        del kept[finding.place.line - 1]
        _replace(path, "".join(kept))
        return f"{model.name}/{CONFIG}:{finding.place.line}: removed '{line.strip()}'"

    return remove


def _edit(model: Path, finding: ModelFinding, value: str) -> str | None:
    path, place = model / CONFIG, finding.place
    if not place.line:
        return None
    kept = path.read_text().splitlines(keepends=True)
    line, start = kept[place.line - 1], place.column - 1
    old = line[start : start + place.length]
    kept[place.line - 1] = line[:start] + value + line[start + place.length :]
    _replace(path, "".join(kept))
    return f"{model.name}/{CONFIG}:{place.line}: changed {old} to {value}"


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.fixed")
    scratch.write_text(text)
    # a new file has the umask's mode, and the server may run as another user
    scratch.chmod(path.stat().st_mode)
    scratch.replace(path)


_FIXES: dict[str, Callable[[Path, ModelFinding], str | None]] = {
    "no-version": _make_version,
    "name-mismatch": _rename_model,
    "missing-config": _rename_config,
    "ensemble-model": _newest_version,
    "platform-pair": _first_of_ours(r'platform\s*:\s*"[^"]*"'),
}
