"""Reads single statements of vLLM's classes: fields, ranges, validators, command line options.

Syntax trees in, names and numbers out. It does not know what a type means (`declarations`).
"""

import ast
from collections.abc import Iterator

BOUNDS = ("gt", "ge", "lt", "le")


def annotated(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr, ast.expr | None]]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.annotation, statement.value


def bounds_of(default: ast.expr | None) -> dict[str, float]:
    """The range in `Field(ge=1, …)`."""
    if not (isinstance(default, ast.Call) and ast.unparse(default.func) == "Field"):
        return {}
    found: dict[str, float] = {}
    for keyword in default.keywords:
        if keyword.arg in BOUNDS:
            with_sign = ast.literal_eval(keyword.value)
            found[str(keyword.arg)] = with_sign
    return found


def is_required(default: ast.expr | None) -> bool:
    """Whether a field has no default: nothing, or `Field(ge=0)`."""
    if isinstance(default, ast.Call) and ast.unparse(default.func) == "Field":
        named = {keyword.arg for keyword in default.keywords}
        return not default.args and not named & {"default", "default_factory"}
    return default is None


def is_internal(default: ast.expr | None) -> bool:
    return isinstance(default, ast.Call) and any(
        keyword.arg == "init" and ast.unparse(keyword.value) == "False"
        for keyword in default.keywords
    )


def removes_keys(node: ast.AST) -> bool:
    """Whether a validator changes its mapping, so that the declared fields are not sufficient."""
    stored = any(
        isinstance(each, ast.Subscript) and isinstance(each.ctx, ast.Store | ast.Del)
        for each in ast.walk(node)
    )
    called = any(
        isinstance(each, ast.Call)
        and isinstance(each.func, ast.Attribute)
        and each.func.attr in {"pop", "setdefault", "update", "from_cli", "replace"}
        for each in ast.walk(node)
    )
    return stored or called


def is_table(node: ast.stmt) -> tuple[str, list[str]] | None:
    """The name and the keys of a dict of texts at the top of a module."""
    if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Dict):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        keys = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
        if isinstance(target, ast.Name) and keys and all(isinstance(key, str) for key in keys):
            return target.id, [str(key) for key in keys]
    return None


def numbers_taken(node: ast.ClassDef) -> set[str]:
    """Arguments for which a number stands for settings: `isinstance(self.NAME, (int, dict))`."""
    return {
        call.args[0].attr
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "isinstance"
        and isinstance(call.args[0], ast.Attribute)
        and {"int", "dict"}
        & {each.id for each in ast.walk(call.args[1]) if isinstance(each, ast.Name)}
        == {"int", "dict"}
    }


def origin_of(default: ast.expr | None) -> tuple[str, str] | None:
    """`ModelConfig.dtype` and `get_field(ModelConfig, "dtype")` → the class and its field."""
    if isinstance(default, ast.Attribute) and ast.unparse(default.value).endswith("Config"):
        assert isinstance(default.value, ast.Name)
        return default.value.id, default.attr
    if isinstance(default, ast.Call) and ast.unparse(default.func) == "get_field":
        return ast.unparse(default.args[0]), str(ast.literal_eval(default.args[1]))
    return None


def command_line_options(node: ast.ClassDef) -> Iterator[tuple[str, tuple[str, str]]]:
    """Argument → class and field, from `add_argument("--name", **scheduler_kwargs["name"])`."""
    owners = {
        statement.targets[0].id: ast.unparse(statement.value.args[0])
        for statement in ast.walk(node)
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(statement.value, ast.Call)
        and ast.unparse(statement.value.func) == "get_kwargs"
    }
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".add_argument"):
            names = [a.value for a in call.args if isinstance(a, ast.Constant)]
            long = next((str(name) for name in names if str(name).startswith("--")), "")
            for part in (each for keyword in call.keywords for each in ast.walk(keyword.value)):
                if isinstance(part, ast.Subscript) and ast.unparse(part.value) in owners:
                    field = str(ast.literal_eval(part.slice))
                    yield (
                        long.removeprefix("--").replace("-", "_"),
                        (
                            owners[ast.unparse(part.value)],
                            field,
                        ),
                    )
