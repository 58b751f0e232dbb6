"""The names of a split GGUF file's parts, such as `NAME-00001-of-00003.gguf`.

It only handles names; `toolkit.convert.gguf_file` reads the files.
"""

import re
from pathlib import PurePosixPath

_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_MOST_SHARDS = 1000


def shard_names(name: str) -> list[str]:
    """All parts of the split file that `name` belongs to, in order; itself when it is whole.

    A folder before the name is kept.
    """
    path = PurePosixPath(name)
    match = _SHARD.fullmatch(path.name)
    # the name comes from outside, and five digits would make a list of 99,999 names
    if match is None or not 1 <= int(match["count"]) <= _MOST_SHARDS:
        return [name]
    names = [
        f"{match['stem']}-{number:05}-of-{match['count']}.gguf"
        for number in range(1, int(match["count"]) + 1)
    ]
    return [str(path.with_name(each)) for each in names]
