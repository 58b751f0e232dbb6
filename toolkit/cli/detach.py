"""`toolkit serve --detach`: runs the same command line in the background."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.announce import announce
from toolkit.cli.output import say

if TYPE_CHECKING:
    from toolkit.serve.models import ServedModel
    from toolkit.serve.options import ServeOptions
    from toolkit.serve.record import Record

FLAGS = ("--detach", "-d")


def detach(options: "ServeOptions", arguments: Sequence[str]) -> None:
    """Runs `toolkit serve ARGUMENTS` in the background and announces it when it is ready.

    Raises ServeError if it does not become ready.
    """
    from toolkit.serve.background import start_service
    from toolkit.serve.ports import check_free

    # here as well: the service's own check would be an error in its log
    check_free(options.ports)
    record = start_service(arguments, say)
    # asked of Triton, as models that did not load are not served
    announce(options, served_by(record), stop=f"`toolkit stop --port {record.port}`")


def served_by(record: "Record") -> "list[ServedModel]":
    """The public models that a service has loaded, or loads on demand."""
    from toolkit.serve.connection import connected
    from toolkit.serve.control import Control

    with connected(record.address) as api:
        models = Control(api, Path(record.repository)).models().values()
    public = [model for model in models if model.public]
    return [one.served for one in public if one.serving or one.served.is_on_demand]
