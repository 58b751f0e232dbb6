"""The encoder step: takes requests of different lengths together and runs them in groups.

Triton's dynamic batcher passes all waiting requests, with ragged batching; see grouping.py.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from python_backends.encoder.grouping import Row, group, run_group, trim
from python_backends.errors import InvalidInput
from python_backends.onnx import FLOAT, INT64, Graph
from python_backends.triton import Array, Request, Settings, end_process, read, refuse, respond

_INPUTS = {"input_ids": (INT64, 2), "attention_mask": (INT64, 2)}
_SEGMENTS = {"token_type_ids": (INT64, 2)}


class TritonPythonModel:
    """Called by Triton."""

    def initialize(self, args: Mapping[str, str]) -> None:
        settings = Settings.read(args)
        self._budget = settings.number("token_budget", 1024)
        self._output = settings.text("output", "embedding")
        # the config decides, not the graph: `Graph.load` then reports where the two differ
        taken = {tensor["name"] for tensor in json.loads(args["model_config"])["input"]}
        inputs = _INPUTS | (_SEGMENTS if "token_type_ids" in taken else {})
        self._graph = Graph.load(settings, inputs, {self._output: (FLOAT, 2)})

    def execute(self, requests: Sequence[Request]) -> list[object]:
        answers: list[Any] = [None] * len(requests)
        rows: list[Row] = []
        for number, request in enumerate(requests):
            try:
                arrays = read(request)
                rows += trim(
                    number,
                    arrays["input_ids"],
                    arrays["attention_mask"],
                    arrays.get("token_type_ids"),
                )
            except Exception as error:  # one bad request must not fail those beside it
                answers[number] = refuse(error)
        outputs = self._encode(rows)
        return [
            answer if answer is not None else self._answer(outputs, number)
            for number, answer in enumerate(answers)
        ]

    def finalize(self) -> None:
        end_process()

    def _encode(self, rows: Sequence[Row]) -> Mapping[int, list[Array] | BaseException]:
        """Returns for each request its vectors, in the order of its rows, or its error."""
        outputs: dict[int, list[Any]] = {}
        failed: dict[int, list[Array] | BaseException] = {}
        for row in rows:
            outputs.setdefault(row.request, []).append(None)
        for members in group(rows, self._budget):
            for row, vector in zip(members, self._run(members), strict=True):
                if isinstance(vector, BaseException):
                    failed[row.request] = vector
                else:
                    outputs[row.request][row.place] = vector
        return outputs | failed

    def _run(self, members: Sequence[Row]) -> Sequence[Array | BaseException]:
        """Returns one vector per row. If a run fails, its rows run one by one, so that only the
        faulty row fails."""
        try:
            return list(run_group(self._graph, members))
        except Exception as error:  # onnxruntime raises anything
            if len(members) == 1:
                return [error]
            return [vector for row in members for vector in self._run([row])]

    def _answer(self, outputs: Mapping[int, list[Array] | BaseException], number: int) -> object:
        try:
            vectors = outputs.get(number) or InvalidInput("the request has no rows")
            if isinstance(vectors, BaseException):
                return refuse(vectors)
            return respond({self._output: np.stack(vectors)})
        except Exception as error:  # one bad request must not fail those beside it
            return refuse(error)
