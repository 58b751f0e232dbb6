"""Writes `vllm-VERSION.json` from vLLM's own source: `python -m toolkit.engine_arguments.collect`.

`--environment FOLDER` reads an installed vLLM (the toolkit's own vllm environment), `--wheel FILE`
a wheel of the version that a container release carries. Nothing of vLLM is run: the fields of the
dataclasses EngineArgs and AsyncEngineArgs are read from the syntax tree. What NVIDIA changed in the
build inside its images beyond the published version cannot be seen this way.
"""

import argparse
import ast
import json
import sys
import zipfile
from pathlib import Path

_SOURCE = "vllm/engine/arg_utils.py"


def read_arguments(source: str) -> dict[str, str]:
    """Field → annotation of AsyncEngineArgs and its base. Raises ValueError if there are none."""
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    found: dict[str, str] = {}
    for name in ("EngineArgs", "AsyncEngineArgs"):
        if name not in classes:
            raise ValueError(f"there is no class {name}")
        for statement in classes[name].body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                annotation = ast.unparse(statement.annotation)
                if not statement.target.id.startswith("_") and "ClassVar" not in annotation:
                    found[statement.target.id] = annotation
    return found


def from_environment(folder: Path) -> tuple[str, str, str]:
    """(version, where it was read, source) of the vLLM installed in a virtual environment."""
    (package,) = folder.glob(f"lib/python3.*/site-packages/{_SOURCE}")
    (about,) = package.parents[2].glob("vllm*.dist-info")
    name, _, version = about.name.removesuffix(".dist-info").partition("-")
    where = f"the installed {name.replace('_', '-')} {version}"
    return version.partition("+")[0], where, package.read_text(encoding="utf-8")


def from_wheel(file: Path) -> tuple[str, str, str]:
    """(version, where it was read, source) of a wheel."""
    name, version = file.name.split("-")[:2]
    with zipfile.ZipFile(file) as archive:
        source = archive.read(_SOURCE).decode()
    return version.partition("+")[0], f"the published wheel {name} {version}", source


def main() -> None:
    """Reads one vLLM and writes its file beside this module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--environment", type=Path, help="a virtual environment with vLLM in it")
    chosen.add_argument("--wheel", type=Path, help="a wheel of vLLM")
    options = parser.parse_args()
    if options.wheel:
        version, where, source = from_wheel(options.wheel)
    else:
        version, where, source = from_environment(options.environment)
    arguments = dict(sorted(read_arguments(source).items()))
    about = {"vllm": version, "read_from": where, "arguments": arguments}
    place = Path(__file__).with_name(f"vllm-{version}.json")
    place.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{place.name}: {len(arguments)} arguments, from {where}\n")


if __name__ == "__main__":
    main()
