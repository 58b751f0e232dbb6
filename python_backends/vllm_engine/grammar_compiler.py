"""Compiles a grammar with xgrammar and measures the CPU time of random trial runs.

Native code cannot be interrupted: a timer of the kernel ends the process when one call takes too
long, so this runs only in a grammar's own process.
"""

import json
import random
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xgrammar as xgr  # type: ignore[import-not-found]

from python_backends.vllm_engine.alphabet import Alphabet, fit, holds_only_json, words_of

Limits = Mapping[str, Any]
_ALLOWANCE_S = 1.0
"""CPU time of all bitmasks before their average is checked."""
_TRIAL_TOKENS = 48
_TRIAL_RUNS = 2


class Vocabulary:
    """The model's tokens: xgrammar's TokenizerInfo, and the characters that they can write."""

    def __init__(self, serialized: str) -> None:
        self.info = xgr.TokenizerInfo.deserialize_json(serialized)
        self.alphabet = Alphabet(words_of(self.info))


class TooSlow(Exception):
    """Computing the allowed tokens takes too long."""


def compile_grammar(
    vocabulary: Vocabulary, kind: str, text: str, limits: Limits
) -> xgr.CompiledGrammar:
    """Raises xgrammar's own exceptions for an invalid grammar."""
    grammar, alphabet = _read(kind, text, limits), vocabulary.alphabet
    # the way through xgrammar's serialized form is only for vocabularies that lack bytes
    if not alphabet.is_complete:
        is_json = kind in ("json", "json_object") or (
            kind == "structural_tag" and holds_only_json(json.loads(text), alphabet)
        )
        grammar = xgr.Grammar.deserialize_json(
            fit(grammar.serialize_json(), alphabet, is_json=is_json)
        )
    # without a cache: the process has one grammar. One thread: the limit is in CPU time
    compiler = xgr.GrammarCompiler(vocabulary.info, max_threads=1, cache_enabled=False)
    return compiler.compile_grammar(grammar)


def _read(kind: str, text: str, limits: Limits) -> xgr.Grammar:
    if kind in ("json", "json_object"):
        if limits.get("compact"):
            return xgr.Grammar.from_json_schema(text, any_whitespace=False, separators=(",", ":"))
        blanks = int(limits["grammar_whitespace"])
        return xgr.Grammar.from_json_schema(text, max_whitespace_cnt=blanks)
    if kind == "regex":
        return xgr.Grammar.from_regex(text)
    if kind == "structural_tag":
        tag = json.loads(text)
        if "structures" in tag:
            items = [
                xgr.StructuralTagItem(
                    begin=one["begin"], schema=json.dumps(one["schema"]), end=one["end"]
                )
                for one in tag["structures"]
            ]
            return xgr.Grammar.from_structural_tag(items, tag["triggers"])
        return xgr.Grammar.from_structural_tag(text)
    # vLLM takes both of these under one name and tells them apart by this mark
    if kind == "grammar" and "::=" not in text:
        return xgr.Grammar.from_lark(text)
    return xgr.Grammar.from_ebnf(text)


def try_out(compiled: Any, limits: Limits) -> None:
    """Generates random replies. Raises TooSlow after the time limit, and ValueError when no token
    is allowed."""
    vocab_size = compiled.tokenizer_info.vocab_size
    mask = np.zeros((1, -(-vocab_size // 32)), dtype=np.int32)
    chance = random.Random(0)  # noqa: S311  the same grammar, the same verdict
    for _ in range(_TRIAL_RUNS):
        matcher = xgr.GrammarMatcher(compiled)
        stops = set(matcher.stop_token_ids)
        clock = Clock(limits)
        for step in range(_TRIAL_TOKENS):
            clock.run(lambda: matcher.fill_next_token_bitmask(mask, 0))  # noqa: B023
            allowed = np.nonzero(np.unpackbits(mask[0].view(np.uint8), bitorder="little"))[0]
            going_on = [one for one in allowed if one not in stops]
            # the first step: the grammar is empty, not merely without a way on
            if not step and not len(allowed):
                raise ValueError("nothing can match it")
            if not going_on:
                if not len(allowed):
                    raise ValueError("the grammar leads to a point where no token is allowed")
                break
            token = int(chance.choice(going_on))
            clock.run(lambda: matcher.accept_token(token))  # noqa: B023
            if clock.is_slow:
                raise TooSlow


class Clock:
    """Measures the CPU time of one request; a kernel timer kills the process in a single long
    call."""

    def __init__(self, limits: Limits) -> None:
        self._longest_s = float(limits["grammar_mask_ms"]) / 1000
        self._share_s = float(limits["grammar_share_ms"]) / 1000
        self._spent_s = 0.0
        self._count = 0

    def run(self, work: Callable[[], Any]) -> Any:
        before_s = time.process_time()
        # PROF counts CPU time only: a process that waits for a core is not slow
        signal.setitimer(signal.ITIMER_PROF, self._longest_s)
        try:
            return work()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._spent_s += time.process_time() - before_s
            self._count += 1

    @property
    def is_slow(self) -> bool:
        return self._spent_s > _ALLOWANCE_S + self._share_s * self._count
