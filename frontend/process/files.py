"""How many files, and so connections, this process may have open."""

import logging
import resource

_OTHER_FILES = 256  # the log, Triton, images that are being fetched
_log = logging.getLogger(__name__)


def allow_connections(connections: int) -> int:
    """Raises the process's limit of open files as far as needed; returns the connections it allows.

    Logs a warning when these are fewer than `connections`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < connections + _OTHER_FILES:
        # only root may raise the hard limit, so it is the end of what can be had
        soft = min(hard, connections + _OTHER_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft >= connections + _OTHER_FILES:
        return connections
    allowed = max(1, soft - _OTHER_FILES)
    text = "the limit of open files (%d, `ulimit -n`) allows %d connections instead of %d; raise it"
    _log.warning(text, soft, allowed, connections)
    return allowed
