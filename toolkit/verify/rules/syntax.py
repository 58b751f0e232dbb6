"""The text of a config: grammar, fields that exist, values that fit, templates left unfilled."""

import re
from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from toolkit.model_config import ModelConfig
from toolkit.names import close_matches
from toolkit.verify.backends import FILES
from toolkit.verify.model import CONFIG, Hit, Model
from toolkit.verify.position import place_of, place_of_entry
from toolkit.verify.problem import Effect, Place
from toolkit.verify.rule import rule
from toolkit.verify.tokens import Token
from toolkit.verify.tree import Entry
from toolkit.verify.values import misfits

_PLACEHOLDER = re.compile(r"\$\{\s*[\w.:-]*\s*\}?|\{\{[^{}\n]*\}\}|<%[^%\n]*%>")


@rule("missing-config", "No config.pbtxt", Effect.RISK, parsed=False)
def missing_config(model: Model) -> Iterator[Hit]:
    """Without `config.pbtxt` the server guesses everything from the files it finds.

    Some backends (ONNX Runtime, TensorRT, TensorFlow, OpenVINO) read inputs and outputs from the
    weights, so that may be on purpose. The Python backend can only if `model.py` has
    `auto_complete_config`. With `--disable-auto-complete-config` the server refuses the model.
    """
    if model.text is not None or (model.folder / "configs").is_dir():
        return
    near = [each for each in model.folder.iterdir() if "config" in each.name and each.is_file()]
    if near:
        yield model.hit_file(
            near[0],
            f"the server does not read '{near[0].name}', and there is no {CONFIG}",
            f"rename it to {CONFIG}",
        )
    elif model.served.backend not in set(FILES) - {"python", "pytorch"} | {"tensorflow"}:
        yield model.hit_file(
            model.folder,
            f"model '{model.name}' has no {CONFIG}, so nothing declares its inputs and outputs",
            f"write {model.name}/{CONFIG} with backend, max_batch_size, input and output",
        )


@rule("placeholder", "Unfilled template", Effect.REFUSED, parsed=False)
def placeholder(model: Model) -> Iterator[Hit]:
    """A `${…}` or `{{…}}` of a template that nobody filled in.

    Outside of quotes it does not parse; inside of quotes it is taken as the value, so that names
    do not match and files are not found. A parameter's text goes to the backend as it stands, which
    may take it for unset. Templates of config files are commonly filled by a script of their
    project (`fill_template.py`): run it first.
    """
    for number, line in enumerate(model.lines, 1):
        code = _without_comment(line)
        for match in _PLACEHOLDER.finditer(code):
            place = Place(model.file, number, match.start() + 1, len(match[0]), line)
            quoted = code.count('"', 0, match.start()) % 2 == 1
            field = _field_before(code[: match.start()])
            effect = Effect.RISK if field == "string_value" else Effect.FAILS
            yield Hit(
                place,
                field,
                f"the placeholder {match[0]} was never filled in",
                "write the value, or run the script that fills this template",
                "{target} takes the text as it stands for the value" if quoted else "",
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
def syntax(model: Model) -> Iterator[Hit]:
    """The file is not protobuf text format, or a value does not fit its field.

    One such mistake makes the server drop the whole model; its log shows the position, the answer
    to a load request only says that polling failed.
    """
    error = model.error
    if error is None or any(hit.effect is None for hit in placeholder.check(model)):
        return
    wrong = list(misfits(model.tree, ModelConfig.DESCRIPTOR))
    for each in wrong:
        place = place_of_entry(model.file, model.lines, each.entry)
        yield Hit(place, each.path, each.message, each.fix)
    if wrong or any(unknown_field.check(model)):
        return
    token = error.token
    place = place_of(model.file, model.lines, token) if token.kind != "end" else _end(model)
    text = _plain(error.message)
    yield Hit(place, "", f"this does not parse: {text}", _advice(text))


def _end(model: Model) -> Place:
    last = max((n for n, line in enumerate(model.lines, 1) if line.strip()), default=1)
    text = model.lines[last - 1]
    token = Token("end", "", last, len(text) + 1)
    return place_of(model.file, model.lines, token)


def _plain(message: str) -> str:
    """Protobuf's message without its line, or in other words."""
    text = re.sub(r"^'[^']*' ?: ", "", message.strip()).rstrip(".")
    if match := re.match(r'Field "(\w+)" is specified along with field "(\w+)"', text):
        return f"'{match[1]}' and '{match[2]}' exclude each other"
    if match := re.search(r'type "(?:\w+\.)*(\w+)" should not have multiple "(\w+)"', text):
        return f"'{match[2]}' stands twice in one {match[1]}"
    return text


_ADVICE = {
    "MapEntry": "give each pair a map of its own: input_map { … } input_map { … }",
    "stands twice": "keep one of the two",
    "exclude each other": "keep one of the two",
    "not closed": "close it",
    "not '}'": "there is one closing brace too many, or an opening one is missing",
    "not '/'": "comments begin with #",
    "expected, not '{'": "leave out the outermost braces: a config is no JSON",
    "comma": "remove the comma",
    "value of": "write the value, or remove the line",
    "expected after": "write a colon between the name and its value",
    'Expected ":"': "write a colon between the name and its value",
    "'='": "write a colon between the name and its value",
    "'('": "write a list as [a, b]",
    "“": "write plain quotes, \" or '",
    "”": "write plain quotes, \" or '",
    r"'\xa0'": "replace it by a plain space",
    "byte order mark": "save the file as UTF-8 without a byte order mark",
}
"""Part of a message -> what to do about it."""


def _advice(message: str) -> str:
    found = [advice for part, advice in _ADVICE.items() if part in message]
    usual = "mend the text; a message reads `name { … }`, a value `name: value`, a list `[a, b]`"
    return found[0] if found else usual


@rule("unknown-field", "Field that this Triton does not know", Effect.REFUSED, parsed=False)
def unknown_field(model: Model) -> Iterator[Hit]:
    """A field that the target's `model_config.proto` lacks: misspelt, misplaced, or newer.

    Triton parses strictly. One unknown field and the whole model is gone, also when the field is
    one that the next release knows.
    """
    yield from _unknown(model, model.tree, ModelConfig.DESCRIPTOR, "")


def _unknown(model: Model, entry: Entry, message: Descriptor, path: str) -> Iterator[Hit]:
    counts: dict[str, int] = {}
    told: Token | None = None
    for child in entry.children or []:
        index = counts[child.name] = counts.get(child.name, -1) + 1
        found = message.fields_by_name.get(child.name)
        here = f"{path}{child.name}"
        place = place_of(model.file, model.lines, child.token)
        if found is None:
            if child.token is not told:
                yield Hit(place, here, *_describe(child.name, message))
            told = child.token
        elif since := model.target.lacks(found.full_name):
            text = f"{model.target.label} does not know '{child.name}', which came with {since}"
            yield Hit(place, here, text, f"remove it, or serve with Triton {since} or newer")
        elif isinstance(found.message_type, Descriptor) and child.children is not None:
            inner = f"{here}[{index}]." if found.is_repeated else f"{here}."
            yield from _unknown(model, child, found.message_type, inner)


_USUAL_NAMES = {"shape": "dims", "dim": "dims", "dtype": "data_type", "type": "data_type"}
"""What other tools call a tensor's fields."""


def _describe(name: str, message: Descriptor) -> tuple[str, str]:
    known: list[str] = [field.name for field in message.fields]
    text = f"'{name}' is no field of {message.name}"
    if message.GetOptions().map_entry:
        return f"{text}: entries of a map are written key and value", (
            'write { key: "…" value: … }, for a parameter value { string_value: "…" }'
        )
    usual = [_USUAL_NAMES[name]] if _USUAL_NAMES.get(name) in known else []
    if near := usual or close_matches(name, known, 1, 0.7):
        return text, f"did you mean '{near[0]}'?"
    homes = _homes(name)
    if homes:
        return (
            f"{text}: it belongs into {homes[0]}",
            f"move it into {homes[0]}, or check the braces",
        )
    return text, f"remove it; the fields here are {', '.join(known)}"


def _homes(name: str) -> list[str]:
    top = ModelConfig.DESCRIPTOR
    if name in top.fields_by_name:
        return ["the top level"]
    messages: list[FieldDescriptor] = [each for each in top.fields if each.message_type]
    return [
        f"'{m.name}'" for m in messages if m.message_type and name in m.message_type.fields_by_name
    ]


RULES = (missing_config, placeholder, syntax, unknown_field)
