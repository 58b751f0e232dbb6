"""Every route with its request body and an example that runs. `build` makes a document of it."""

from frontend.openapi.operations.accounts import ACCOUNTS
from frontend.openapi.operations.allowances import ALLOWANCES
from frontend.openapi.operations.gateway import GATEWAY
from frontend.openapi.operations.operation import Operation
from frontend.openapi.operations.protocols import PROTOCOLS
from frontend.openapi.operations.upstreams import UPSTREAMS

__all__ = ["OPERATIONS", "Operation"]

OPERATIONS: tuple[Operation, ...] = (
    *PROTOCOLS,
    *GATEWAY,
    *ACCOUNTS,
    *ALLOWANCES,
    *UPSTREAMS,
)
