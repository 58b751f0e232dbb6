"""`gpu.json` and `gpu.md`: what was measured, on what, and what failed."""

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

Parts = dict[str, dict[str, Any]]


def machine() -> dict[str, str]:
    """The processor, the GPU and its driver."""
    found = {"cores": str(os.cpu_count()), "system": platform.platform()}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20)
        found["gpu"] = "; ".join(done.stdout.splitlines())
    except (OSError, subprocess.SubprocessError):
        found["gpu"] = "none"
    return found


def write(folder: Path, about: dict[str, Any], parts: Parts) -> None:
    """Both files; `parts` holds per part `rows`, `seconds` and perhaps `error` or `skipped`."""
    found = {**about, "parts": parts}
    (folder / "gpu.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    (folder / "gpu.md").write_text(table(about, parts))


def table(about: dict[str, Any], parts: Parts) -> str:
    """The figures as Markdown."""
    lines = ["# GPU benchmark", "", *(f"- {name}: {value}" for name, value in about.items())]
    for name, part in parts.items():
        lines += ["", f"## {name} ({part['seconds']:.0f} s)", ""]
        for reason in ("error", "skipped"):
            if reason in part:
                lines += [f"**{reason}:** {part[reason]}", ""]
        lines += ["| | value |", "|---|---|"]
        lines += [f"| {row} | {_cell(value)} |" for row, value in part.get("rows", {}).items()]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        low, high = value["low"], value["high"]
        text = f"{value['ratio']:.2f} [{low:.2f}–{high:.2f}]"
        return f"{text}, ours {value['ours']:.4g}, peer {value['peer']:.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("|", "\\|").replace("\n", " ")
