"""Asks the real embedded server for its verdict on many cases at once.

Loads run side by side, because most of a load is waiting. Models that fail late go one by one:
this release sometimes crashes when one does while others load. A load that hangs blocks all others,
so the server starts again after it.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from tests.toolkit.verifier.corpus.dsl import Case, Files, Verdict
from tests.toolkit.verifier.corpus.library import LIBRARY, used_by
from toolkit.runtime.environments import ensure_environment
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.triton import TritonServer
from toolkit.serve.triton_command import TritonOptions

_LANES = 8
_LOAD_TIMEOUT_S = 60.0
_HANG_TIMEOUT_S = 6.0
_ANSWER_TIMEOUT_S = 20.0
_TYPES = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}

_LATE = ("warmup", "sequence-state", "python-", "label-file", "missing-config", "no-tensors")
"""Rules about what this server sees only after it has started the model's process."""

_GONE = ("connect", "socket closed", "stream removed")
"""What gRPC says when the server went away in the middle of a call."""

Answer = tuple[Verdict, str]
"""The server's verdict, and its reason."""


def write(root: Path, files: Files) -> None:
    """Writes `files` below `root`, and the environments that their models name.

    `numpy2` is the one these tests run in, which serves where it has numpy 2.
    """
    links = {"onnx": ensure_environment("onnx"), "numpy2": Path(sys.prefix)}
    for name, target in links.items():
        link = root / ".environments" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)
    for path, text in files.items():
        target = root / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())


@contextmanager
def empty_server(repository: Path, log: Path) -> Iterator[TritonServer]:
    """A server that has loaded nothing. Killed at the end: after a load that failed, this release
    waits its whole exit timeout."""
    server = TritonServer(ensure_triton(), TritonOptions(repository, log))
    server.start()
    try:
        yield server
    finally:
        server.kill()
        server.end()


@contextmanager
def serving(cases: Iterable[Case], scratch: Path) -> Iterator[TritonServer]:
    """A server over the union of all cases' repositories, nothing loaded."""
    repository = scratch / "union"
    for files in [*LIBRARY.values(), *(case.written() for case in cases)]:
        write(repository, files)
    with empty_server(repository, scratch / "triton.log") as server:
        yield server


def judge_all(server: TritonServer, cases: list[Case]) -> dict[str, Answer]:
    """The server's answer for every case, by name."""
    together = [case for case in cases if not _fails_late(case)]
    answers: dict[str, Answer] = {}
    with ThreadPoolExecutor(_LANES) as pool:
        list(pool.map(lambda model: _load(server, model), LIBRARY))
        found = pool.map(lambda case: _judge(server, case), together)
        answers |= {c.name: answer for c, answer in zip(together, found, strict=True) if answer}
    for case in sorted(cases, key=_order):
        if case.name not in answers:
            answers[case.name] = _judge_alone(server, case)
    return answers


def _fails_late(case: Case) -> bool:
    """Whether the model fails when its Python process runs already, or hangs."""
    if case.verdict is Verdict.REFUSED:
        return any(rule.startswith(_LATE) for rule in case.rules)
    return case.verdict is Verdict.HANGS


def _order(case: Case) -> tuple[bool, bool]:
    """What uses the library comes while it is still loaded, what hangs comes last."""
    return case.verdict is Verdict.HANGS, not used_by(case.files)


def _judge_alone(server: TritonServer, case: Case) -> Answer:
    """A hanging load holds a lock that every later load needs, so the server starts again."""
    answer = _judge(server, case)
    if answer is None or answer[0] is Verdict.HANGS:
        server.kill()
        server.start()
    if answer is None:
        answer = _judge(server, case)
    return answer or (Verdict.REFUSED, "the server died")


def _load(server: TritonServer, model: str, timeout_s: float = _LOAD_TIMEOUT_S) -> None:
    request = service_pb2.RepositoryModelLoadRequest(model_name=model)
    server.api.RepositoryModelLoad(request, timeout=timeout_s)


def _judge(server: TritonServer, case: Case) -> Answer | None:
    """Loads a case, sends its request, unloads it. None when the server is gone.

    This release now and then aborts while it loads a model after another one's `initialize` raised.
    """
    model = case.models[0]
    hangs = case.verdict is Verdict.HANGS
    try:
        _load(server, model, _HANG_TIMEOUT_S if hangs else _LOAD_TIMEOUT_S)
        answer = _ask(server, model, case.request) if case.request else (Verdict.LOADS, "")
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Verdict.HANGS, "no answer to the load request"
        answer = Verdict.REFUSED, str(error.details())
    if server.exit_code is not None or any(word in answer[1].lower() for word in _GONE):
        return None
    with suppress(grpc.RpcError):  # a model that failed cannot be unloaded
        unload = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        server.api.RepositoryModelUnload(unload, timeout=_LOAD_TIMEOUT_S)
    return answer


def _ask(server: TritonServer, model: str, text: str) -> Answer:
    request = service_pb2.ModelInferRequest(model_name=model)
    sent = []
    for each in text.split():
        name, data_type, shape = each.split(":")
        dims = [int(dim) for dim in shape.split(",")]
        data = np.arange(1, 1 + np.prod(dims), dtype=_TYPES[data_type]).reshape(dims)
        request.inputs.add(name=name, datatype=data_type, shape=dims)
        request.raw_input_contents.append(data.tobytes())
        sent.append(data.tobytes())
    try:
        for reply in server.api.ModelStreamInfer(iter([request]), timeout=_ANSWER_TIMEOUT_S):
            if reply.error_message:
                return Verdict.FAILS, reply.error_message
            contents = reply.infer_response.raw_output_contents
            if contents and any(content not in sent for content in contents):
                return Verdict.WRONG, "the answer is not what was sent"
            if contents:
                return Verdict.LOADS, ""
    except grpc.RpcError as error:
        return Verdict.FAILS, str(error.details())
    return Verdict.WRONG, "no answer"


def reasons(log: Path, model: str) -> str:
    """What the log says about one model."""
    pattern = re.compile(rf"\b{re.escape(model)}\b")
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if line[:1] in "EW" and pattern.search(line))
