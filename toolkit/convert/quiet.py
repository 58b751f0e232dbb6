"""Hides the output of libraries from the user.

The output is kept, and reported if the work fails, because it may contain the reason.
"""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator

_SWITCHES = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings, log records and prints inside; an exception carries them as a note.

    Environment variables turn progress bars off and forbid the network, for libraries that are
    imported inside: weights are complete before anything is converted.
    """
    said = io.StringIO()
    before = {name: os.environ.get(name) for name in _SWITCHES}
    # these blocks are nested, so what was set is put back, and not a default
    disabled = logging.root.manager.disable
    os.environ.update(_SWITCHES)
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            # Python's own streams: what libraries print from C goes past them
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if text := said.getvalue().strip():
            error.add_note("\n".join(text.splitlines()[-20:]))
        raise
    finally:
        logging.disable(disabled)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
