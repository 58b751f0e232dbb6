"""Asks the real embedded server for its verdict on many cases at once."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from tests.verify.corpus.dsl import Case, Files, Verdict
from tests.verify.corpus.library import LIBRARY
from toolkit.runtime.environments import ensure_environment
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.triton import TritonOptions, TritonServer

_LOAD_TIMEOUT_S = 10.0
_TYPES = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}


def write(root: Path, files: Files) -> None:
    """Writes `files` below `root`, and the environment that their models name."""
    (root / ".environments").mkdir(parents=True, exist_ok=True)
    link = root / ".environments" / "onnx"
    if not link.is_symlink():
        link.symlink_to(ensure_environment("onnx"))
    for path, text in files.items():
        target = root / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())


@contextmanager
def serving(cases: Iterable[Case], scratch: Path) -> Iterator[TritonServer]:
    """A server over the union of all cases' repositories, nothing loaded."""
    repository = scratch / "union"
    for files in [*LIBRARY.values(), *(case.written() for case in cases)]:
        write(repository, files)
    server = TritonServer(ensure_triton(), TritonOptions(repository, scratch / "triton.log"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


def judge(server: TritonServer, case: Case) -> tuple[Verdict, str]:
    """Loads a case, sends its request, unloads it; the verdict and the server's reason.

    The server is started again when a case killed it: this release now and then aborts while it
    loads a model after another one whose `initialize` had raised.
    """
    verdict, reason = _judge(server, case)
    if server.exit_code is None and verdict is not Verdict.HANGS:
        return verdict, reason
    server.kill()
    server.start()
    if verdict is Verdict.HANGS:  # it holds the lock that every other load needs
        return verdict, reason
    verdict, reason = _judge(server, case)
    if server.exit_code is not None:
        server.kill()
        server.start()
        return Verdict.REFUSED, f"the server died: {reason}"
    return verdict, reason


def _judge(server: TritonServer, case: Case) -> tuple[Verdict, str]:
    model = case.models[0]
    try:
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        server.api.RepositoryModelLoad(request, timeout=_LOAD_TIMEOUT_S)
    except grpc.RpcError as error:
        hangs = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return Verdict.HANGS if hangs else Verdict.REFUSED, str(error.details())
    try:
        return _ask(server, model, case.request) if case.request else (Verdict.LOADS, "")
    finally:
        unload = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        with suppress(grpc.RpcError):  # a dead server; `judge` sees it
            server.api.RepositoryModelUnload(unload, timeout=_LOAD_TIMEOUT_S)


def _ask(server: TritonServer, model: str, text: str) -> tuple[Verdict, str]:
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
        for reply in server.api.ModelStreamInfer(iter([request]), timeout=15):
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
    lines = [line for line in log.read_text(errors="replace").splitlines() if re.search(rf"\b{re.escape(model)}\b", line)]
    return "\n".join(line for line in lines if line[0] in "EW")
