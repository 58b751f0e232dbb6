"""NVIDIA's `llmapi` model as documented: the text so far per answer, `stop` by request id.

It answers a prompt with the prompt's own characters in capitals, one a token, slowly enough to be
stopped. Runs inside the Triton of a test.
"""

import json
import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    def initialize(self, args):  # type: ignore[no-untyped-def]
        self.stopped = set()

    def execute(self, requests):  # type: ignore[no-untyped-def]
        for request in requests:
            threading.Thread(target=self.serve, args=(request,), daemon=True).start()

    def serve(self, request):  # type: ignore[no-untyped-def]
        sender = request.get_response_sender()
        given = {tensor.name(): tensor.as_numpy().reshape(-1) for tensor in request.inputs()}
        if "stop" in given:
            self.stopped.add(request.request_id())
            error = pb_utils.TritonError(
                "Request cancelled by client", pb_utils.TritonError.CANCELLED
            )
            sender.send(pb_utils.InferenceResponse(error=error), flags=1)
            return
        prompt = given["text_input"][0].decode()
        most = int(given["sampling_param_max_tokens"][0])
        tells = prompt == "tell"
        if tells:
            names = {
                name: values.tolist() for name, values in given.items() if name != "text_input"
            }
            names["sampling_param_stop"] = [
                s.decode() for s in names.get("sampling_param_stop", [])
            ]
            prompt = json.dumps(names)
        whole = prompt if tells else prompt.upper()
        for count in range(1, min(most, len(whole)) + 1):
            if request.request_id() in self.stopped:
                self.send(sender, whole[: count - 1], "cancelled", 1)
                return
            last = count == min(most, len(whole))
            reason = ("length" if most < len(whole) else "stop") if last else "None"
            self.send(sender, whole[:count], reason, int(last))
            time.sleep(0.05 if "slow" in prompt else 0)

    def send(self, sender, text, reason, flags):  # type: ignore[no-untyped-def]
        tensors = [
            pb_utils.Tensor("text_output", np.array([text.encode()], dtype=object)),
            pb_utils.Tensor("finish_reason", np.array([reason], dtype=object)),
            pb_utils.Tensor("stop_reason", np.array(["None"], dtype=object)),
        ]
        sender.send(pb_utils.InferenceResponse(tensors), flags=flags)
