"""Checks that several groups of settings share. Their errors never show the value of a URL."""

import re
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from frontend.settings.group import parts


def check_url(url: str) -> str:
    """Accepts an http: or https: URL that cannot hold a secret, or an empty text. Raises ValueError
    for any other text."""
    given = urlsplit(url)
    plain = not (given.username or given.password or given.query or given.fragment)
    is_url = given.scheme in ("http", "https") and given.hostname and plain
    if url and not (is_url and re.fullmatch(r"[!-~]+", url)):
        # the URL is not shown: it may hold a password
        raise ValueError("must be an http: or https: URL without a user, query or fragment")
    _ = given.port  # its ValueError says what is wrong
    return url


def check_file(file: Path | None) -> Path | None:
    """Accepts a file that exists, or None. Raises ValueError if there is no such file."""
    if file is not None and not file.is_file():
        raise ValueError(f"'{file}' is not a file")
    return file


def check_networks(networks: str) -> str:
    """Accepts networks separated by commas, or an empty text. Raises ValueError, naming the part,
    for any other text."""
    for part in parts(networks):
        try:
            ip_network(part)
        except ValueError:
            example = "'10.0.0.0/8' or '192.0.2.7'"
            raise ValueError(f"'{part}' is not a network such as {example}") from None
    return networks
