"""The attributes of spans have the names of the newest conventions that are installed."""

import re
from pathlib import Path

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, user_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, service_attributes

import frontend.telemetry.traces

_NAMES = re.compile(r'"((?:gen_ai|http|error|service|user)(?:\.[a-z_]+)+)"')
_MODULES = (
    gen_ai_attributes,
    http_attributes,
    error_attributes,
    service_attributes,
    user_attributes,
)


def test_every_attribute_is_one_of_the_conventions() -> None:
    sources = Path(frontend.telemetry.traces.__file__).parent.glob("*.py")
    written = {name for file in sources for name in _NAMES.findall(file.read_text())}
    assert len([name for name in written if name.startswith("gen_ai.")]) > 15
    known: set[str] = set()
    for module in _MODULES:
        # "Deprecated: Moved to" names another document; "Replaced by" and "Removed" are old names
        text = Path(module.__file__).read_text()
        pairs = re.findall(r'^\w+: Final = "([^"]+)"\n"""(.*?)"""', text, re.S | re.M)
        known |= {name for name, about in pairs if not re.search(r"Replaced by|Removed", about)}
    assert written <= known, written - known
    assert "gen_ai.system" not in known, "an old name is recognised"
