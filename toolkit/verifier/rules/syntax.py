"""The text of a config: syntax, unknown fields, values of the wrong type, unfilled templates."""

import re
from collections.abc import Iterator
from dataclasses import replace

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from toolkit.finding import Place
from toolkit.model_config import ModelConfig
from toolkit.names import close_matches
from toolkit.verifier.backends import FILES
from toolkit.verifier.finding import Effect, ModelFinding, draft
from toolkit.verifier.model import CONFIG, Model
from toolkit.verifier.rule import rule
from toolkit.verifier.tokens import Token
from toolkit.verifier.tree import Entry
from toolkit.verifier.values import misfits

_PLACEHOLDER = re.compile(r"\$\{\s*[\w.:-]*\s*\}?|\{\{[^{}\n]*\}\}|<%[^%\n]*%>")


@rule("missing-config", "No config.pbtxt", Effect.RISK, parsed=False)
def missing_config(model: Model) -> Iterator[ModelFinding]:
    """Without `config.pbtxt` the server derives the config from the files.

    Some backends (ONNX Runtime, TensorRT, TensorFlow, OpenVINO) read inputs and outputs from the
    weights, so this may be intended. The Python backend needs `auto_complete_config` in `model.py`.
    With `--disable-auto-complete-config` the server refuses the model.
    """
    if model.text is not None or (model.folder / "configs").is_dir():
        return
    near = [each for each in model.folder.iterdir() if "config" in each.name and each.is_file()]
    if near:
        yield model.file_finding(
            near[0],
            f"there is no {CONFIG}, and the server does not read '{near[0].name}'",
            f"rename it to {CONFIG}",
        )
    # these read inputs and outputs from their weights
    elif model.served.backend not in set(FILES) - {"python", "pytorch"} | {"tensorflow"}:
        yield model.file_finding(
            model.folder,
            f"model '{model.name}' has no {CONFIG}, so its inputs and outputs are not declared",
            f"add {model.name}/{CONFIG} with backend, max_batch_size, input and output",
        )


@rule("placeholder", "Template variable that was not replaced", Effect.REFUSED, parsed=False)
def placeholder(model: Model) -> Iterator[ModelFinding]:
    """A template variable, `${…}` or `{{…}}`, was not replaced.

    Outside quotes the config does not parse. Inside quotes the text becomes the value, so names do
    not match and files are not found. Parameters are passed to the backend unchanged, and it may
    treat such a text as unset. Projects with config templates usually have a script to fill them
    (`fill_template.py`); run it first.
    """
    for number, line in enumerate(model.lines, 1):
        code = _without_comment(line)
        for match in _PLACEHOLDER.finditer(code):
            quoted = code.count('"', 0, match.start()) % 2 == 1
            field = _field_before(code[: match.start()])
            place = Place(model.file, number, match.start() + 1, len(match[0]), line, field)
            effect = Effect.RISK if field == "string_value" else Effect.FAILS
            yield draft(
                place,
                f"the placeholder {match[0]} was not replaced",
                "write the value, or run the script that fills this template",
                "{target} uses this text as the value" if quoted else "",
                effect if quoted else None,
            )


def _without_comment(line: str) -> str:
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "#":
            return line[:position]
    return line


def _field_before(text: str) -> str:
    words = re.findall(r"(\w+)\s*:", text)
    return words[-1] if words else ""


@rule("syntax", "Not a valid config", Effect.REFUSED, parsed=False)
def syntax(model: Model) -> Iterator[ModelFinding]:
    """The file is not valid protobuf text format, or a value has the wrong type for its field.

    One such error makes the server refuse the model. Its log shows the position; the response to a
    load request only says that polling failed.
    """
    error = model.error
    # a placeholder outside quotes is the cause, and is reported by its own rule
    if error is None or any(each.effect is None for each in placeholder.check(model)):
        return
    wrong = list(misfits(model.tree, ModelConfig.DESCRIPTOR))
    for each in wrong:
        place = replace(model.at_entry(each.entry), field=each.path)
        yield draft(place, each.text, each.fix)
    # protobuf's own message would repeat the first of these
    if wrong or any(unknown_field.check(model)):
        return
    token = error.token
    place = model.at_token(token) if token.kind != "end" else _end(model)
    text = _plain(error.message)
    yield draft(place, f"syntax error: {text}", _fix(text))


def _end(model: Model) -> Place:
    last = max((n for n, line in enumerate(model.lines, 1) if line.strip()), default=1)
    text = model.lines[last - 1]
    token = Token("end", "", last, len(text) + 1)
    return model.at_token(token)


def _plain(message: str) -> str:
    """Protobuf's message without its line number, some of them reworded."""
    text = re.sub(r"^'[^']*' ?: ", "", message.strip()).rstrip(".")
    if match := re.match(r'Field "(\w+)" is specified along with field "(\w+)"', text):
        return f"'{match[1]}' and '{match[2]}' cannot be combined"
    if match := re.search(r'type "(?:\w+\.)*(\w+)" should not have multiple "(\w+)"', text):
        return f"'{match[2]}' appears twice in one {match[1]}"
    return text


_FIXES = {
    "MapEntry": "write one map for each pair: input_map { … } input_map { … }",
    "appears twice": "keep one of the two",
    "cannot be combined": "keep one of the two",
    "not closed": "close it",
    "not '}'": "remove one closing brace, or add the missing opening brace",
    "not '/'": "start comments with #",
    "expected, not '{'": "remove the outermost braces: a config is not JSON",
    "comma": "remove the comma",
    "value of": "write the value, or remove the line",
    "expected after": "write a colon between the name and its value",
    'Expected ":"': "write a colon between the name and its value",
    "'='": "write a colon between the name and its value",
    "'('": "write a list as [a, b]",
    "“": "use straight quotes, \" or '",
    "”": "use straight quotes, \" or '",
    r"'\xa0'": "replace it with a normal space",
    "byte order mark": "save the file as UTF-8 without a byte order mark",
}
"""Part of a message → how to fix it."""


def _fix(message: str) -> str:
    default = "correct the text: messages are `name { … }`, values `name: value`, lists `[a, b]`"
    return next((fix for part, fix in _FIXES.items() if part in message), default)


@rule("unknown-field", "Field unknown to this Triton release", Effect.REFUSED, parsed=False)
def unknown_field(model: Model) -> Iterator[ModelFinding]:
    """The target's `model_config.proto` has no such field: it is misspelled, misplaced, or newer.

    Triton parses strictly: one unknown field makes it refuse the model, even if a later release
    has the field.
    """
    yield from _unknown(model, model.tree, ModelConfig.DESCRIPTOR, "")


def _unknown(model: Model, entry: Entry, message: Descriptor, path: str) -> Iterator[ModelFinding]:
    counts: dict[str, int] = {}
    reported: Token | None = None
    for child in entry.children or []:
        index = counts[child.name] = counts.get(child.name, -1) + 1
        field = message.fields_by_name.get(child.name)
        here = f"{path}{child.name}"
        place = model.at_token(child.token, here)
        if field is None:
            # elements of one list share the token of its name
            if child.token is not reported:
                yield draft(place, *_describe(child.name, message))
            reported = child.token
        elif since := model.target.lacks(field.full_name):
            text = f"'{child.name}' needs Triton {since} or newer; this is {model.target.label}"
            yield draft(place, text, f"remove it, or use Triton {since} or newer")
        elif isinstance(field.message_type, Descriptor) and child.children is not None:
            inner = f"{here}[{index}]." if field.is_repeated else f"{here}."
            yield from _unknown(model, child, field.message_type, inner)


_USUAL_NAMES = {"shape": "dims", "dim": "dims", "dtype": "data_type", "type": "data_type"}
"""Names of tensor fields in other tools → Triton's names."""


def _describe(name: str, message: Descriptor) -> tuple[str, str]:
    known: list[str] = [field.name for field in message.fields]
    text = f"'{name}' is not a field of {message.name}"
    if message.GetOptions().map_entry:
        return f"{text}: a map entry has the fields key and value", (
            'write { key: "…" value: … }; for a parameter, value { string_value: "…" }'
        )
    # before spelling: `shape` is close to no field that is meant
    usual = [_USUAL_NAMES[name]] if _USUAL_NAMES.get(name) in known else []
    if near := usual or close_matches(name, known, 1, 0.7):
        return text, f"did you mean '{near[0]}'?"
    homes = _homes(name)
    if homes:
        return (
            f"{text}: it belongs in {homes[0]}",
            f"move it to {homes[0]}, or check the braces",
        )
    return text, f"remove it; the fields of {message.name} are {', '.join(known)}"


def _homes(name: str) -> list[str]:
    top = ModelConfig.DESCRIPTOR
    if name in top.fields_by_name:
        return ["the top level"]
    messages: list[FieldDescriptor] = [each for each in top.fields if each.message_type]
    return [
        f"'{m.name}'" for m in messages if m.message_type and name in m.message_type.fields_by_name
    ]


RULES = (missing_config, placeholder, syntax, unknown_field)
