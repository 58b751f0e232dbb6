"""A Hugging Face Hub of one model on a loopback web server, in the Hub's own answers."""

import hashlib
import json

from tests.support.web import Web

COMMIT = "c" * 40


def serve_model(
    web: Web, name: str, files: dict[str, bytes], *, large: tuple[str, ...] = (".safetensors",)
) -> None:
    """Answers for the model's file list, and for each file at the only commit there is."""
    siblings = []
    for path, content in files.items():
        about: dict[str, object] = {"rfilename": path, "size": len(content)}
        if path.endswith(large):
            sha256 = hashlib.sha256(content).hexdigest()
            about["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 130}
            about["blobId"] = "0" * 40
        else:
            header = f"blob {len(content)}\0".encode()
            about["blobId"] = hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
        siblings.append(about)
        web.files[f"/{name}/resolve/{COMMIT}/{path}"] = content
    told = json.dumps({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings})
    for path in (f"/api/models/{name}", f"/api/models/{name}/revision/main"):
        web.files[path] = told.encode()
        web.types[path] = "application/json"
