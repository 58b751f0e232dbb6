"""vLLM's fields for the format of an answer: `structured_outputs` and `guided_…`. Pure."""

from typing import Annotated, Any, get_args

import orjson
from msgspec import Meta

from frontend.dialects.declare import Body, Object, about
from frontend.dialects.openai.identity import Identity
from frontend.dialects.read import listed
from frontend.dialects.refusal import refuse
from frontend.domain.structure import SchemaUse, Structure, StructureKind

ANY_OBJECT: dict[str, Any] = {"type": "object"}
_KINDS: tuple[StructureKind, ...] = get_args(StructureKind)
_GUIDED: tuple[StructureKind, ...] = ("json", "regex", "choice", "grammar")
_OPTIONS = ("disable_any_whitespace", "disable_additional_properties", "whitespace_pattern")
_Choices = str | Annotated[list[str], Meta(max_length=10_000)]
_SCHEMA = "a JSON schema"


class StructuredOutputs(Body, kw_only=True):
    """vLLM's `structured_outputs`: exactly one constraint, with options."""

    json: Annotated[Object | str | None, about("A JSON schema, or its text.", must_be=_SCHEMA)] = (
        None
    )
    regex: Annotated[str | None, about("A regular expression.")] = None
    choice: Annotated[_Choices | None, about("The texts that the answer is chosen from.")] = None
    grammar: Annotated[str | None, about("A grammar in EBNF.")] = None
    json_object: Annotated[bool | None, about("Any JSON object.")] = None
    structural_tag: Annotated[str | None, about("An xgrammar structural tag, as JSON.")] = None
    disable_any_whitespace: Annotated[bool | None, about("Generate JSON without whitespace.")] = (
        None
    )
    disable_additional_properties: Annotated[
        bool | None, about("Objects have only the properties that the schema declares.")
    ] = None
    whitespace_pattern: Annotated[str | None, about("The whitespace allowed in JSON.")] = None


class Structured(Identity, kw_only=True):
    """The fields of vLLM for the format of the answer."""

    structured_outputs: Annotated[
        StructuredOutputs | None, about("The format of the answer, as vLLM's API describes it.")
    ] = None
    guided_json: Annotated[
        Object | str | None, about("vLLM's older name for a JSON schema.", must_be=_SCHEMA)
    ] = None
    guided_regex: Annotated[str | None, about("vLLM's older name for a pattern.")] = None
    guided_choice: Annotated[_Choices | None, about("vLLM's older name for choices.")] = None
    guided_grammar: Annotated[str | None, about("vLLM's older name for a grammar.")] = None


def make_structure(body: Structured) -> Structure | None:
    """The format that the answer must have. Raises InvalidRequest for two contradicting fields."""
    legacy = _pick(body, "guided_", _GUIDED)
    given = body.structured_outputs
    if given is None:
        return legacy
    structure = _pick(given, "", _KINDS) or Structure(None, None, "structured_outputs")
    options = {name: value for name in _OPTIONS if (value := getattr(given, name)) is not None}
    if structure.kind is None and not options:
        return legacy
    if legacy is not None:
        raise refuse(legacy.path, "cannot be combined with 'structured_outputs'; send one of them")
    path = (
        "structured_outputs" if structure.kind is None else f"structured_outputs.{structure.kind}"
    )
    return Structure(structure.kind, structure.value, path, options)


def _pick(body: Any, prefix: str, kinds: tuple[StructureKind, ...]) -> Structure | None:
    """The one kind that is given. Raises InvalidRequest for more than one."""
    given = [(k, v) for k in kinds if (v := getattr(body, f"{prefix}{k}")) is not None]
    if not given:
        return None
    if len(given) > 1:
        first, second = (f"{prefix}{kind}" for kind, _ in given[:2])
        place = second if prefix else f"structured_outputs.{second}"
        raise refuse(place, f"cannot be combined with '{first}'; send one of them")
    kind, value = given[0]
    path = f"{prefix}{kind}" if prefix else f"structured_outputs.{kind}"
    if kind == "json":
        value = _schema(value, path)
    return Structure(kind, listed(value) if kind == "choice" else value, path)


def _schema(schema: Any, path: str) -> dict[str, Any]:
    """A JSON schema, or its text."""
    if isinstance(schema, str):
        try:
            schema = orjson.loads(schema)
        except orjson.JSONDecodeError as error:
            raise refuse(path, f"is not valid JSON: {error}") from None
    if not isinstance(schema, dict):
        raise refuse(path, "must be a JSON object")
    return schema


def schemas_of(structure: Structure | None) -> tuple[SchemaUse, ...]:
    """The answer's schema, to be checked."""
    if structure is None:
        return ()
    if structure.kind == "json":
        return (SchemaUse(structure.path, structure.value),)
    if structure.kind == "json_object" and not structure.path.startswith("structured_outputs"):
        return (SchemaUse(structure.path, ANY_OBJECT),)
    return ()


def names_of(structure: Structure | None) -> dict[str, str]:
    """The caller's names of fields that have other names in the canonical request."""
    names = {
        "structure": "structured_outputs",
        "template_options": "chat_template_kwargs",
        "thinking_budget": "thinking_token_budget",
    }
    if structure is not None and not structure.path.startswith("structured_outputs"):
        paths = ("structure", *(f"structure.{kind}" for kind in _KINDS))
        names |= dict.fromkeys(paths, structure.path)
    return names
