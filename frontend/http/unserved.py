"""Known routes of other servers, and why this one does not have them.

They are not in the route table: nothing answers there, whatever the method.
"""

from frontend.errors import NotFound

_TRAINED = "fine-tuning is not available; the operator adds LoRA adapters to models.yaml"
_STATE = "use /v1/responses with 'previous_response_id'"
REASONS = {
    "/v1/moderations": "no moderation model is served; filter texts in a step of your own in"
    " Triton",
    "/v1/audio": "speech models are not served; models here accept text and images",
    "/v1/realtime": f"realtime sessions are not served; {_STATE}, and 'stream'",
    "/v1/assistants": f"the Assistants API is not served; {_STATE}",
    "/v1/threads": f"the Assistants API is not served; {_STATE}",
    "/v1/conversations": f"conversations are not served; {_STATE}",
    "/v1/vector_stores": "vector stores are not served; store the vectors of /v1/embeddings"
    " yourself",
    "/v1/fine_tuning": _TRAINED,
    "/v1/fine-tunes": _TRAINED,
    "/v1/uploads": "files are not uploaded in parts; send the whole file to /v1/files",
    "/v1/videos": "models here generate text, vectors and images",
    "/v1/containers": "the gateway does not run code",
    "/v1/evals": "the gateway does not run evaluations",
    "/v1/organization": "OpenAI's administration is not served; the gateway has /admin",
    "/v1/messages/batches": "message batches are not served; use /v1/batches",
}


def check_served(path: str) -> None:
    """Raises NotFound with the reason for a route that is known and not served."""
    for start, reason in REASONS.items():
        if path == start or path.startswith(f"{start}/"):
            raise NotFound(f"{start} is not available: {reason}", code="unsupported_operation")
