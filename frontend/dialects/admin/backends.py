"""Bodies and answers for backends. Keys are never shown, only the name of the variable or file that
contains them."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, to_builtins

from frontend.dialects.admin.answers import Shown
from frontend.dialects.admin.bodies import changed
from frontend.dialects.declare import Body, about
from frontend.domain.labels import labels_of
from frontend.domain.upstreams import Backend, UpstreamEntry

_US = 1_000_000
_MIB = 1024
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Gigabytes = Annotated[int, Meta(ge=1, le=1_000_000)] | Annotated[float, Meta(ge=0.001, le=1e6)]
Groups = Annotated[list[str], Meta(max_length=100)]
_LABELS = about(
    "Labels that the policies of groups refer to, such as 'region' or 'trust'. Default of 'site':"
    " 'cloud' if 'external' is true, otherwise 'local'."
)
EngineName = Literal[
    "triton", "vllm", "tgi", "llama.cpp", "lmstudio", "mistral.rs", "openai", "ollama", "anthropic"
]


class TensorsBody(Body, kw_only=True, omit_defaults=True):
    """The tensors of an embedding model that this toolkit did not build."""

    vector: Annotated[str, Meta(min_length=1, max_length=256), about("The output.")]
    text: Annotated[str | None, about("The input that takes texts.")] = None
    ids: Annotated[str | None, about("The input that takes token ids instead of texts.")] = None
    mask: Annotated[str | None, about("The input for the attention mask.")] = None
    types: Annotated[str | None, about("The input for the segment of each token.")] = None
    pooling: Annotated[
        Literal["none", "mean", "cls"], about("How the vectors of tokens are pooled into one.")
    ] = "none"
    normalize: Annotated[bool, about("Whether vectors are normalized to length 1.")] = True


class ServedBody(Body, kw_only=True, omit_defaults=True):
    """Facts about a model that its server does not report."""

    name: Annotated[str, Meta(min_length=1, max_length=256), about("The name that clients use.")]
    own: Annotated[str | None, about("Its name at the server, if different.")] = None
    kind: Annotated[
        Literal["llm", "embedding", "rerank", "diffusion"] | None, about("Its kind.")
    ] = None
    capabilities: Annotated[list[str] | None, about("What it can do, such as 'chat'.")] = None
    context_length: Annotated[Count | None, about("Tokens of its context.")] = None
    dimensions: Annotated[Count | None, about("The length of its vectors.")] = None
    images: Annotated[bool | None, about("Whether it reads images.")] = None
    aliases: Annotated[
        list[str], Meta(max_length=100), about("Further names that clients can use.")
    ] = []  # noqa: RUF012
    chat_template: Annotated[
        Annotated[str, Meta(max_length=128)] | None,
        about("For a Triton: chatml, gemma, llama-3, mistral, or a file of 'model_files'."),
    ] = None
    tokenizer: Annotated[
        Annotated[str, Meta(max_length=128)] | None,
        about("For a Triton: a file of 'model_files'."),
    ] = None
    tensors: Annotated[
        TensorsBody | None, about("For an embedding model of a Triton: its tensors.")
    ] = None


class BackendBody(Body, kw_only=True):
    """A server that requests may be sent to."""

    name: Annotated[str, about("Its name in metrics, prices and logs.")]
    url: Annotated[
        str, about("HOST:PORT of Triton's gRPC, or the http: or https: URL of another server.")
    ]
    engine: Annotated[EngineName, about("Its engine.")] = "triton"
    max_concurrent: Annotated[Count | None, about("Maximum number of concurrent requests.")] = None
    max_num_seqs: Annotated[
        Count | None, about("The engine's own limit of concurrent requests.")
    ] = None
    gpu_memory_gb: Annotated[Gigabytes | None, about("Memory of its GPUs in GiB.")] = None
    priority: Annotated[
        int, Meta(ge=-10, le=1000), about("Each unit adds 10 points to its score.")
    ] = 0
    external: Annotated[bool, about("Whether prompts sent to it leave the site.")] = False
    groups: Annotated[Groups, about("Ids of the groups that may use it; empty: all.")] = []  # noqa: RUF012
    labels: Annotated[dict[str, str], _LABELS] = {}  # noqa: RUF012
    models: Annotated[
        list[ServedBody], Meta(max_length=1000), about("If set, only these models are served.")
    ] = []  # noqa: RUF012
    api_key_env: Annotated[
        str | None, about("The gateway's environment variable with the key; it ends with _API_KEY.")
    ] = None
    api_key_file: Annotated[
        str | None, about("The file with the key, in the folder of the setting 'backend_keys'.")
    ] = None


class BackendEdit(Body, kw_only=True):
    """Changes of a registered upstream; omitted fields are unchanged."""

    max_concurrent: Annotated[
        Count | UnsetType | None, about("Maximum number of concurrent requests; null: no limit.")
    ] = UNSET
    max_num_seqs: Annotated[
        Count | UnsetType | None, about("The engine's own limit of concurrent requests.")
    ] = UNSET
    gpu_memory_gb: Annotated[Gigabytes | UnsetType | None, about("Memory of its GPUs in GiB.")] = (
        UNSET
    )
    priority: Annotated[
        Annotated[int, Meta(ge=-10, le=1000)] | UnsetType,
        about("Each unit adds 10 points to its score."),
    ] = UNSET
    enabled: Annotated[bool | UnsetType, about("Whether requests are sent to it.")] = UNSET
    external: Annotated[bool | UnsetType, about("Whether prompts sent to it leave the site.")] = (
        UNSET
    )
    groups: Annotated[
        Groups | UnsetType, about("Ids of the groups that may use it; empty: all.")
    ] = UNSET
    labels: Annotated[dict[str, str] | UnsetType, _LABELS] = UNSET
    models: Annotated[
        Annotated[list[ServedBody], Meta(max_length=1000)] | UnsetType,
        about("If set, only these models are served."),
    ] = UNSET
    api_key_env: Annotated[
        str | UnsetType | None, about("The gateway's environment variable with the key.")
    ] = UNSET
    api_key_file: Annotated[
        str | UnsetType | None, about("The file with the key, in the folder 'backend_keys'.")
    ] = UNSET
    revision: Annotated[
        str | UnsetType,
        about("The 'revision' that you read; if it is no longer current, nothing is changed."),
    ] = UNSET


def changes_of(body: BackendEdit) -> tuple[dict[str, Any], str | None]:
    """The columns that an edit changes, and the revision that its sender saw."""
    given = changed(body)
    revision = given.pop("revision", None)
    if "gpu_memory_gb" in given:
        given["gpu_memory_mib"] = _mebibytes(given.pop("gpu_memory_gb"))
    if "models" in given:
        given["models"] = to_builtins(given["models"])
    return given, revision


def _mebibytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else max(1, round(gigabytes * _MIB))


def columns_of(body: BackendBody) -> dict[str, Any]:
    """The fields of a new backend."""
    values: dict[str, Any] = to_builtins(body)
    del values["gpu_memory_gb"]
    values["gpu_memory_mib"] = _mebibytes(body.gpu_memory_gb)
    values["groups"], values["models"] = tuple(values["groups"]), tuple(values["models"])
    return values


def show_backend(one: Backend, state: Shown | None = None) -> Shown:
    """A registered backend; `state` is what this gateway knows of it."""
    memory = one.gpu_memory_mib
    return {
        "id": one.id,
        "object": "backend",
        "name": one.name,
        "url": one.url,
        "engine": one.engine,
        "source": "api",
        "read_only": False,
        "max_concurrent": one.max_concurrent,
        "max_num_seqs": one.max_num_seqs,
        "gpu_memory_gb": None if memory is None else memory / _MIB,
        "priority": one.priority,
        "external": one.external,
        "groups": one.groups,
        "labels": labels_of(one.labels or {}, external=one.external),
        "declared_models": one.models,
        "api_key_env": one.api_key_env,
        "api_key_file": one.api_key_file,
        "enabled": one.enabled,
        "draining": one.draining_at_us is not None,
        "created_at": one.created_at_us // _US,
        "revision": one.revision,
        **(state or {}),
    }


def show_entry(one: UpstreamEntry, state: Shown) -> Shown:
    """A backend of the settings: its id is its name."""
    return {
        "id": one.name,
        "object": "backend",
        "name": one.name,
        "url": one.url,
        "engine": one.engine,
        "source": "settings",
        "read_only": True,
        "max_concurrent": one.max_concurrent,
        "max_num_seqs": one.max_num_seqs,
        "gpu_memory_gb": None,
        "priority": one.priority,
        "external": one.external,
        "groups": [*one.groups],
        "labels": labels_of(one.labels, external=one.external),
        "declared_models": [model.name for model in one.models],
        "api_key_env": None,
        "api_key_file": one.api_key_file,
        "enabled": one.enabled,
        "draining": False,
        "created_at": None,
        **state,
    }
