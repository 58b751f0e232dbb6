"""Waiting until a Triton that somebody else started has loaded its models."""

import time

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from toolkit.errors import ServeError

_INTERVAL_S = 0.5
_CALL_S = 2.0


def wait_for_triton(address: str, timeout_s: float) -> None:
    """Returns when the Triton at this gRPC address is ready. Raises ServeError after that time."""
    deadline = time.monotonic() + timeout_s
    with grpc.insecure_channel(address) as channel:
        api = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while not _is_ready(api):
            if time.monotonic() > deadline:
                raise ServeError(
                    f"Triton at {address} is not ready after {timeout_s:g} s",
                    hint="its own log says what it does; --wait-s waits longer",
                )
            time.sleep(_INTERVAL_S)


def _is_ready(api: service_pb2_grpc.GRPCInferenceServiceStub) -> bool:
    try:
        return bool(api.ServerReady(service_pb2.ServerReadyRequest(), timeout=_CALL_S).ready)
    except grpc.RpcError:
        return False
