#!/usr/bin/env bash
# Makes every lock file again from its input: `make lock`. torch is left out of those for the CPU, because
# which build of it is right is the machine's choice and made by pip's configuration. Those for CUDA pin
# PyPI's build of it, and all of CUDA with it.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
find_links=$(.venv/bin/python -m pip config get global.find-links 2>/dev/null || true)
leave_out=(torch torchvision torchaudio torchcodec triton triton-toolkit)
plain=(--quiet --python .venv/bin/python --generate-hashes --no-annotate --no-header)
common=("${plain[@]}")
for package in "${leave_out[@]}"; do common+=(--no-emit-package "$package"); done
[ -z "$find_links" ] || common+=(--find-links "$find_links")

"$uv" pip compile "${common[@]}" pyproject.toml -o requirements/base.lock
"$uv" pip compile "${common[@]}" pyproject.toml --extra dev -o requirements/dev.lock
locks=toolkit/runtime/locks
for environment in onnx vllm; do
    "$uv" pip compile "${common[@]}" --override "$locks/override.txt" \
        "$locks/$environment.in" -o "$locks/$environment.lock"
done
# a folder with CPU builds of torch must not win here
for environment in onnx-cuda vllm-cuda; do
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS "$uv" pip compile --no-config "${plain[@]}" \
        --override "$locks/override.txt" "$locks/$environment.in" -o "$locks/$environment.lock"
done
"$uv" pip compile "${common[@]}" docker/frontend.in -o docker/frontend.lock
# the gateway reads tokenizers from files, so it needs nothing that downloads them
"$uv" pip compile "${common[@]}" --override <(echo 'huggingface-hub; python_version < "3"') \
    docker/frontend-extras.in -o docker/frontend-extras.lock
# what NVIDIA's image lacks; what it has must stay as it is, so nothing else is resolved
"$uv" pip compile "${common[@]}" --no-deps --python-version 3.12 docker/triton.in -o docker/triton.lock
