"""Runs in the engine's environment: for each line of JSON, whether vLLM builds its config from it.

The arguments are those of `AsyncEngineArgs` for the model folder named first; nothing is loaded.
"""

import json
import sys

from vllm import AsyncEngineArgs  # type: ignore[import-not-found]


def main() -> None:
    base = {"model": sys.argv[1], "tokenizer": sys.argv[1], "skip_tokenizer_init": True}
    base |= {"max_model_len": 512, "dtype": "float32", "enforce_eager": True, "max_num_seqs": 16}
    for line in sys.stdin:
        try:
            AsyncEngineArgs(**base | json.loads(line)).create_engine_config()
        except Exception as error:  # vLLM refuses with many types
            answer = f"{type(error).__name__}: {error}"
        else:
            answer = ""
        sys.stdout.write(json.dumps({"answer": answer}) + "\n")


main()
