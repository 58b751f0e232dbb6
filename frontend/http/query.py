"""The parameters in a URL."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from frontend.errors import InvalidRequest
from frontend.http.client import Client


def query_of(client: Client) -> Mapping[str, str]:
    """The last value of each parameter in the URL."""
    text = client.scope["query_string"].decode("latin-1")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise InvalidRequest("the URL has more than 32 parameters") from None
