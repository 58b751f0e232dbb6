"""The settings in force as plain data, for administrators. A secret is never part of it."""

import re
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from frontend.settings import Settings

_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")


def settings_in_force(settings: Settings) -> list[dict[str, Any]]:
    """Name, value, default, variable and meaning of every setting, by subject."""
    prefix = settings.model_config.get("env_prefix", "")
    shown = []
    for group in Settings.__mro__:
        own = getattr(group, "__annotations__", {})
        for name, field in Settings.model_fields.items():
            if name not in own or group is Settings:
                continue
            value, default = getattr(settings, name), _default(field)
            shown.append(
                {
                    "id": name,
                    "object": "setting",
                    "subject": group.__name__.removesuffix("Settings").lower(),
                    "variable": f"{prefix}{name}".upper(),
                    "flag": f"--{name.replace('_', '-')}",
                    "value": plain(value),
                    "default": plain(default),
                    "is_default": value == default,
                    "is_secret": "SecretStr" in str(field.annotation),
                    "description": field.description or "",
                }
            )
    return shown


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    return None if default is PydanticUndefined else default


def plain(value: Any) -> Any:
    """A value without what must not be shown: a secret only as set, a URL without its user."""
    if isinstance(value, SecretStr):
        return "(set)"
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _USER_INFO.sub("…@", str(value))
