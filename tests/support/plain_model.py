"""A model of another builder, for tests: it runs in Triton's Python backend as `model.py`.

A prompt with `SAY a|b|c END` is answered with these pieces; every other one with the tensors that
came, as JSON; one with `VERSION` with the model's version, and `BREAK 2` breaks the version 2. It
behaves as the backend whose tensors its config has.
"""

import json
import re
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

_SAY = re.compile(r"SAY (.*?) END", re.DOTALL)


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._inputs = [one["name"] for one in config["input"]]
        self._outputs = {one["name"]: one["data_type"] for one in config["output"]}
        self._decoupled = config.get("model_transaction_policy", {}).get("decoupled", False)
        self._mode = config["parameters"]["mode"]["string_value"]
        self._cancelled = 0
        self._version = args["model_version"]

    def execute(self, requests: list[Any]) -> list[Any] | None:
        answers = [self._answer(one) for one in requests]
        return None if self._decoupled else answers

    def _answer(self, request: Any) -> Any:
        given = {name: self._array(request, name) for name in self._inputs}
        given = {name: array for name, array in given.items() if array is not None}
        if self._mode in ("texts", "states"):
            return pb_utils.InferenceResponse(self._vectors(given))
        if self._mode == "counter":
            words = len(given["QUERY"].reshape(-1)[0].split())
            return pb_utils.InferenceResponse([self._tensor("REQUEST_INPUT_LEN", [[words]])])
        prompt = given["text_input"].reshape(-1)[0].decode()
        if "STATS" in prompt:
            prompt = f"SAY {self._cancelled} END"
        if "VERSION" in prompt:
            prompt = f"SAY {self._version} END"
        if f"BREAK {self._version}" in prompt:
            raise pb_utils.TritonModelException("broken on purpose")
        said = _SAY.search(prompt)
        pieces = said[1].split("|") if said else [json.dumps(_shown(given))]
        most = self._most(given)
        if not self._decoupled:
            return pb_utils.InferenceResponse(
                self._piece(given, "".join(pieces), prompt, True, most)
            )
        sender = request.get_response_sender()
        whole = ""
        for number, piece in enumerate(pieces[:most]):
            if sender.is_cancelled():
                self._cancelled += 1
                break
            whole += piece
            last = number + 1 == min(len(pieces), most)
            shown = whole if self._mode == "llmapi" else piece
            sender.send(pb_utils.InferenceResponse(self._piece(given, shown, prompt, last, most)))
            if "SLOWLY" in prompt:
                time.sleep(0.05)
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None

    def _piece(
        self, given: dict[str, Any], text: str, prompt: str, last: bool, most: int
    ) -> list[Any]:
        made = [self._tensor("text_output", [text.encode()])]
        reason = ("length" if "LONG" in prompt else "stop") if last else "None"
        values = {
            "finish_reason": [reason.encode()],
            "stop_reason": [b"None"],
            "num_input_tokens": [len(prompt.split())],
            "num_output_tokens": [1 if self._decoupled else len(text.split())],
            "logprobs": [_logprobs(text)],
        }
        for name, value in values.items():
            if name in self._outputs and (f"return_{name}" in given):
                made.append(self._tensor(name, value))
        return made

    def _most(self, given: dict[str, Any]) -> int:
        if "sampling_parameters" in given:
            return int(
                json.loads(given["sampling_parameters"].reshape(-1)[0]).get("max_tokens", 16)
            )
        for name in ("max_tokens", "sampling_param_max_tokens"):
            if name in given:
                return int(given[name].reshape(-1)[0])
        return 16

    def _vectors(self, given: dict[str, Any]) -> list[Any]:
        if self._mode == "texts":
            texts = [one.decode() for one in given["TEXT"].reshape(-1)]
            return [self._tensor("VECTOR", [[len(one), 1.0, 0.0] for one in texts])]
        ids, mask = given["input_ids"], given["attention_mask"]
        # padding has states of its own, which a mean must leave out
        states = np.stack([ids, np.where(mask > 0, 1, 100)], axis=-1)
        return [self._tensor("last_hidden_state", states)]

    def _array(self, request: Any, name: str) -> Any:
        tensor = pb_utils.get_input_tensor_by_name(request, name)
        return None if tensor is None else tensor.as_numpy()

    def _tensor(self, name: str, value: Any) -> Any:
        kind = pb_utils.triton_string_to_numpy(self._outputs[name])
        return pb_utils.Tensor(name, np.asarray(value, dtype=kind))


def _shown(given: dict[str, Any]) -> dict[str, Any]:
    """A `~` is shown as `-`: an answer must not contain the texts that are to stop it."""
    return {
        name: [
            one.decode().replace("~", "-") if isinstance(one, bytes) else one
            for one in array.reshape(-1).tolist()
        ]
        for name, array in given.items()
        if name != "text_input"
    }


def _logprobs(text: str) -> bytes:
    chosen = {"logprob": -0.5, "rank": 2, "decoded_token": text}
    likelier = {"logprob": -0.25, "rank": 1, "decoded_token": "?"}
    return json.dumps([{"7": chosen, "9": likelier}]).encode()
