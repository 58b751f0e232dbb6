"""Calls between models that share a resource: what `toolkit verify` says, against the real server.

The server runs with the rate limiter on, as `toolkit serve` starts it where a config has one.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.support.triton import load_code
from tests.toolkit.verifier.conftest import Repository
from tests.toolkit.verifier.corpus.dsl import Files, ensemble, python
from tests.toolkit.verifier.corpus.server import empty_server, write
from toolkit.serve.triton import TritonServer
from toolkit.verifier import Effect, ModelFinding, verify_repository

_IO = ("x:FP32:-1", "y:FP32:-1")
_CODE = """
import asyncio
import triton_python_backend_utils as pb

NAME = "TARGET"


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x = pb.get_input_tensor_by_name(request, "x").as_numpy()
        inner = pb.InferenceRequest(
            model_name=WRITTEN, requested_output_names=["y"], inputs=[pb.Tensor("x", x)]
        )
        found = CALL
        if found.has_error():
            raise pb.TritonModelException(found.error().message())
        y = pb.get_output_tensor_by_name(found, "y").as_numpy()
        return pb.InferenceResponse([pb.Tensor("y", y)])

    async def wait(self, inner):
        return await inner.async_exec()
"""
_SOON = "inner.exec()"
_LATER = "asyncio.run(self.wait(inner))"


def _group(*resources: str, count: int = 1) -> str:
    """`name:units` or `name:units:global`."""
    told = ""
    for each in resources:
        name, units, *everywhere = each.split(":")
        told += f' resources {{ name: "@{name}" count: {units} '
        told += "global: true }" if everywhere else "}"
    limiter = f" rate_limiter {{{told} }}" if resources else ""
    return f"instance_group {{ kind: KIND_CPU count: {count}{limiter} }}\n"


def _caller(
    name: str, target: str, group: str, *, call: str = _SOON, written: str = '"TARGET"'
) -> Files:
    code = _CODE.replace("WRITTEN", written).replace("TARGET", target).replace("CALL", call)
    return python(*_IO, name=name, more=group, files={"1/model.py": code})


def _pair(mine: str, its: str, **how: str) -> Files:
    called = python(*_IO, name="@.b", more=its)
    return {**_caller("@.a", "@.b", mine, **how), **called}


_TWO = python(*_IO, name="@.c", more=_group("r:2"))
_ONE, _FREE = _group("r:1"), _group()


_LIKE_SHARE = {"named", "smaller", "itself"}
"""Cases that are to the server what `share` is."""


@dataclass(frozen=True, slots=True)
class Calls:
    """A request to `@.a` waits forever where `hangs`, and only under load where `risk`."""

    name: str
    files: Files
    hangs: bool = False
    risk: bool = False


CALLS = [
    Calls("free", _pair(_FREE, _ONE)),
    Calls("other", _pair(_ONE, _group("s:1"))),
    Calls("none", _pair(_group("r:0"), _ONE)),
    Calls("share", _pair(_ONE, _ONE), hangs=True),
    Calls("larger", _pair(_ONE, _group("r:2")), hangs=True),
    Calls("smaller", _pair(_group("r:2"), _ONE), hangs=True),
    Calls("named", _pair(_ONE, _ONE, written="NAME"), hangs=True),
    Calls("later", _pair(_ONE, _ONE, call=_LATER), hangs=True),
    Calls("everywhere", _pair(_group("r:1:global"), _group("r:1:global")), hangs=True),
    Calls("enough", {**_pair(_ONE, _ONE), **_TWO}),
    Calls("enough_for_one", {**_pair(_group("r:1", count=2), _ONE), **_TWO}, risk=True),
    Calls("itself", _caller("@.a", "@.a", _ONE), hangs=True),
    Calls(
        "through_ensemble",
        {
            **_caller("@.a", "@.e", _ONE),
            **ensemble(*_IO, "@.b x=x > y=y", name="@.e"),
            **python(*_IO, name="@.b", more=_ONE),
        },
        hangs=True,
    ),
    Calls(
        "through_another",
        {
            **_caller("@.a", "@.m", _ONE),
            **_caller("@.m", "@.b", _FREE),
            **python(*_IO, name="@.b", more=_ONE),
        },
        hangs=True,
    ),
    Calls(
        "steps",
        {
            **ensemble(*_IO, "@.b x=x > y=m", "@.c x=m > y=y", name="@.a"),
            **python(*_IO, name="@.b", more=_ONE),
            **python(*_IO, name="@.c", more=_ONE),
        },
    ),
]


def _named(files: Files, name: str) -> Files:
    return {path.replace("@", name): text.replace("@", name) for path, text in files.items()}


def _found(root: Path, target: str = "embedded") -> list[ModelFinding]:
    return [each for each in verify_repository(root, target) if each.code.startswith("rate-")]


@pytest.mark.parametrize("calls", CALLS, ids=lambda calls: calls.name)
def test_a_call_for_a_resource_that_the_caller_holds_is_reported(
    calls: Calls, repository: Repository
) -> None:
    root = repository(_named(calls.files, "model"))
    found = _found(root)
    wanted = [Effect.FAILS] if calls.hangs else [Effect.RISK] if calls.risk else []
    assert [finding.effect for finding in found] == wanted
    for finding in found:
        assert finding.model == "model.a"
        assert "InferenceRequest" in finding.place.text
        assert "resource 'modelr'" in finding.text
    # containers have the limiter off unless they are told otherwise
    assert [each.effect for each in _found(root, "container:25.08")] == [
        Effect.RISK for _ in wanted
    ]


def test_a_computed_name_is_looked_for(repository: Repository) -> None:
    files = _named(_pair(_ONE, _ONE, written='f"{NAME}"'), "model")
    (finding,) = _found(repository(files))
    assert finding.effect is Effect.RISK
    unknown = {path: text.replace('"model.b"\n', '"another"\n') for path, text in files.items()}
    assert _found(repository(unknown)) == []


def test_a_resource_is_global_in_all_models_or_in_none(repository: Repository) -> None:
    files = _named(_pair(_group("r:1:global"), _group("r:1")), "model")
    found = [each for each in _found(repository(files)) if each.code == "rate-limiter-resource"]
    assert [(each.model, each.effect) for each in found] == [
        ("model.a", Effect.REFUSED),
        ("model.b", Effect.REFUSED),
    ]


def test_the_real_server_agrees(tmp_path: Path) -> None:
    """Those that hang have servers of their own: one that waits stops all models of a server."""
    answering = [calls for calls in CALLS if not calls.hangs]
    for calls in answering:
        write(tmp_path / "together", _named(calls.files, calls.name))
    write(tmp_path / "together", _named(_pair(_group("r:1:global"), _group("r:1")), "mixed"))
    with empty_server(tmp_path / "together", tmp_path / "log") as server:
        assert load_code(server, "mixed.b") is None
        assert load_code(server, "mixed.a") is grpc.StatusCode.INVALID_ARGUMENT
        # most of a load is waiting
        with ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(lambda calls: _answer(server, calls, 60), answering))
    assert codes == [None] * len(answering)
    hanging = [calls for calls in CALLS if calls.hangs and calls.name not in _LIKE_SHARE]
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda calls: _alone(calls, tmp_path), hanging))
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * len(hanging)


def _alone(calls: Calls, scratch: Path) -> grpc.StatusCode | None:
    write(scratch / calls.name, _named(calls.files, calls.name))
    with empty_server(scratch / calls.name, scratch / f"{calls.name}.log") as server:
        return _answer(server, calls, 4)


def _answer(server: TritonServer, calls: Calls, timeout_s: float) -> grpc.StatusCode | None:
    """Loads a case and sends one request: the error's code, None for an answer."""
    models = {path.split("/")[0] for path in _named(calls.files, calls.name)}
    for model in sorted(models, reverse=True):
        assert load_code(server, model) is None, model
    request = service_pb2.ModelInferRequest(model_name=f"{calls.name}.a")
    request.inputs.add(name="x", datatype="FP32", shape=[3])
    request.raw_input_contents.append(np.arange(3, dtype=np.float32).tobytes())
    try:
        server.api.ModelInfer(request, timeout=timeout_s)
    except grpc.RpcError as error:
        return error.code()
    return None
