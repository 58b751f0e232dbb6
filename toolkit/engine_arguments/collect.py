"""Writes `vllm-VERSION.json` from vLLM's own source: `python -m toolkit.engine_arguments.collect`.

`--environment FOLDER` reads an installed vLLM (the toolkit's own vllm environment), `--wheel FILE`
a wheel of the version that a container release carries. Nothing of vLLM is run: everything is read
from syntax trees. What NVIDIA changed in the build inside its images beyond the published version
cannot be seen this way.
"""

import argparse
import ast
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.engine_arguments.arguments import read_arguments
from toolkit.engine_arguments.declarations import Declarations
from toolkit.engine_arguments.registries import (
    read_architectures,
    read_connectors,
    read_list,
    read_parsers,
)

_SOURCES = (
    "vllm/engine/arg_utils.py",
    "vllm/config.py",
    "vllm/config/",
    "vllm/model_executor/layers/quantization/__init__.py",
    "vllm/model_executor/model_loader/__init__.py",
    "vllm/model_executor/models/registry.py",
    "vllm/v1/attention/backends/registry.py",
    "vllm/v1/attention/backends/mla/prefill/registry.py",
    "vllm/attention/backends/registry.py",
    "vllm/v1/kv_cache_interface.py",
    "vllm/transformers_utils/config.py",
    "vllm/v1/metrics/buckets.py",
    "vllm/distributed/kv_transfer/kv_connector/factory.py",
    "vllm/distributed/ec_transfer/ec_connector/factory.py",
    "vllm/entrypoints/openai/tool_parsers/",
    "vllm/tool_parsers/",
    "vllm/reasoning/",
)
"""Files and folders that say what an engine takes; versions have some of them."""


def from_environment(folder: Path) -> tuple[str, str, dict[str, str]]:
    """(version, where it was read, sources) of the vLLM installed in a virtual environment."""
    (package,) = folder.glob("lib/python3.*/site-packages/vllm")
    (about,) = package.parent.glob("vllm*.dist-info")
    name, _, version = about.name.removesuffix(".dist-info").partition("-")
    where = f"the installed {name.replace('_', '-')} {version}"
    files = (str(path.relative_to(package.parent)) for path in package.rglob("*.py"))
    sources = {
        name: (package.parent / name).read_text(encoding="utf-8")
        for name in files
        if name.startswith(_SOURCES)
    }
    return version.partition("+")[0], where, sources


def from_wheel(file: Path) -> tuple[str, str, dict[str, str]]:
    """(version, where it was read, sources) of a wheel."""
    name, version = file.name.split("-")[:2]
    with zipfile.ZipFile(file) as archive:
        sources = {
            member: archive.read(member).decode()
            for member in archive.namelist()
            if member.startswith(_SOURCES) and member.endswith(".py")
        }
    return version.partition("+")[0], f"the published wheel {name} {version}", sources


def read_sources(sources: Mapping[str, str]) -> dict[str, Any]:
    """What a file of this folder holds about one version. Raises ValueError for other sources."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    declarations = Declarations(trees.values())
    arguments = read_arguments(trees["vllm/engine/arg_utils.py"], declarations)
    return {
        "arguments": arguments,
        "classes": declarations.classes_of(arguments.values()),
        "tool_parsers": sorted(read_parsers(_below(trees, "tool_parsers"))),
        "reasoning_parsers": sorted(read_parsers(_below(trees, "reasoning"))),
        "sampling": read_list(trees, "available_params"),
        "buckets": declarations.choices_of("BucketFamilyKey"),
        "connectors": {
            f"{kind}_config": sorted(read_connectors(_below(trees, kind)))
            for kind in ("kv_transfer", "ec_transfer")
        },
        **read_architectures(trees["vllm/model_executor/models/registry.py"]),
    }


def _below(trees: Mapping[str, ast.Module], folder: str) -> Iterator[ast.Module]:
    yield from (tree for name, tree in trees.items() if f"/{folder}/" in name)


def main() -> None:
    """Reads one vLLM and writes its file beside this module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--environment", type=Path, help="a virtual environment with vLLM in it")
    chosen.add_argument("--wheel", type=Path, help="a wheel of vLLM")
    options = parser.parse_args()
    if options.wheel:
        version, where, sources = from_wheel(options.wheel)
    else:
        version, where, sources = from_environment(options.environment)
    about = {"vllm": version, "read_from": where, **read_sources(sources)}
    place = Path(__file__).with_name(f"vllm-{version}.json")
    place.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{place.name}: {len(about['arguments'])} arguments, from {where}\n")


if __name__ == "__main__":
    main()
