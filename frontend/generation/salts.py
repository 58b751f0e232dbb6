"""Salts of the engines' prefix caches: only prompts with the same salt share computed prefixes.

Sharing is measurable: a prompt that begins as another one is answered faster, and its usage says
how many tokens were cached. Pure.
"""

import hashlib
from dataclasses import replace

from frontend.cache.key import owner_of
from frontend.domain.generation import Generation
from frontend.domain.identity import Caller

SHARED = "shared"


def salt(scope: str, caller: Caller, generation: Generation) -> Generation:
    """The generation with the salt of its owner. `scope`: who shares; the caller's own salt only
    narrows that."""
    own = generation.cache_salt
    if scope == SHARED and own is None:
        return generation
    owner = "" if scope == SHARED else owner_of(caller, scope) or owner_of(caller, "user")
    text = f"{owner}\0{own or ''}"
    return replace(generation, cache_salt=hashlib.sha256(text.encode()).hexdigest()[:32])
