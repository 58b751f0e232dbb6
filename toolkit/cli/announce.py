"""What `toolkit serve` prints once it is ready: the address, the models, and a request to try."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolkit.cli.output import say
from toolkit.contract import INTERFACES

if TYPE_CHECKING:
    from toolkit.serve.models import ServedModel
    from toolkit.serve.options import ServeOptions


def announce(options: "ServeOptions", models: "Sequence[ServedModel]", *, stop: str) -> None:
    """`stop` is what ends the service."""
    address = "{}:{}".format(*options.listening)
    url = f"http://{address}/v1" if options.triton_port is None else f"{address} (gRPC)"
    say()
    if options.triton_port is None:
        say(("Ready", "good"), " at ", (f"http://{address}/playground", "bold"), " in a browser")
        say(f"  and for clients at {url}")
    else:
        say(("Ready", "good"), " at ", (url, "bold"))
    say()
    for model in models:
        also = f", also called {', '.join(model.aliases)}" if model.aliases else ""
        when = ", loaded by its first request" if model.is_on_demand else ""
        say(f"  {model.name} ({model.kind or 'no kind'}{also}{when})")
    say()
    say(f"Logs: {options.logs}. {stop} stops the service.")
    if options.triton_port is not None:
        say(f"To start a gateway: toolkit serve --frontend-only --triton {address}")
        return
    chats = [model.name for model in models if _chats(model)]
    if chats:
        _show_request(address, chats[0])


def _chats(model: "ServedModel") -> bool:
    interface = INTERFACES.get(model.kind)
    return interface is not None and "chat" in interface.capabilities


def _show_request(address: str, model: str) -> None:
    """A command to paste into a shell."""
    question = {"role": "user", "content": "What is the capital of France?"}
    body = json.dumps({"model": model, "messages": [question], "temperature": 0})
    say()
    say("Try it:")
    say()
    say(f"curl http://{address}/v1/chat/completions -H 'content-type: application/json' \\")
    say(f"  -d '{body}'")
    say()
