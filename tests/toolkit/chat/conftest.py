"""A gateway before the echo models, for chats and single questions."""

from collections.abc import Iterator

import pytest

from tests.support.echo import EchoTriton
from tests.support.gateway import Gateway, run_gateway


@pytest.fixture(scope="package")
def gateway(echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests of this folder."""
    with run_gateway(echo_triton.grpc_address, tmp_path_factory.mktemp("gateway") / "log") as it:
        yield it
