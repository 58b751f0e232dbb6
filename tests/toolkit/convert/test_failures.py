"""What a library's error becomes: the model's fault, or a disk that is full."""

import errno

import pytest

from toolkit.convert.failures import refusing
from toolkit.errors import ConvertError


def test_a_library_s_error_names_the_model() -> None:
    said = "m cannot be converted: KeyError: 'heads'"
    with pytest.raises(ConvertError, match=said), refusing("m cannot be converted"):
        raise KeyError("heads")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_not_the_model_s_fault(error: Exception) -> None:
    with pytest.raises(OSError, match=r"No space|quota") as full, refusing("m cannot be converted"):
        raise error
    assert full.value.errno in {errno.ENOSPC, errno.EDQUOT}
