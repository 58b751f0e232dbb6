"""Runs in the engine's environment: writes answers at random, as a schema's grammar allows.

Its vocabulary lacks the bytes that SmolLM2's lacks, too. Reads one `[seed, schema]` per line,
answers with one list of `[how it ended, text]` per line.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
import xgrammar as xgr
from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features

sys.path.insert(0, str(Path(__file__).parents[3]))
from python_backends.vllm_engine.grammar_compiler import Vocabulary, compile_grammar

LACKING = {4, 6, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2}
WORDS = [bytes([one]) for one in range(256) if one not in LACKING]
WORDS += [
    b'", "',
    b'": ',
    b'{"',
    b'"}',
    b'\\"',
    b"\\\\",
    b"\\u00",
    b"null",
    b"true",
    b"ab",
    b'": "',
]
WORDS += ["ä".encode(), "😀".encode(), b"title", b"</s>"]
STOP = len(WORDS) - 1
WALKS, MOST = 4, 250
LIMITS = {"grammar_whitespace": 16}


def main() -> None:
    tokens = xgr.TokenizerInfo(
        WORDS, vocab_type=xgr.VocabType.RAW, vocab_size=len(WORDS), stop_token_ids=[STOP]
    )
    vocabulary = Vocabulary(tokens.serialize_json())
    for line in sys.stdin:
        seed, schema = json.loads(line)
        results: list[tuple[str, str]] = []
        if has_xgrammar_unsupported_json_features(schema):
            results.append(("unsupported", ""))
        try:
            compiled = compile_grammar(vocabulary, "json", json.dumps(schema), LIMITS)
            results += [walk(compiled, random.Random(seed + n), schema) for n in range(WALKS)]
        except (RuntimeError, ValueError) as error:
            results.append(("refused", str(error)[:500]))
        sys.stdout.write(json.dumps(results) + "\n")
        sys.stdout.flush()


def walk(compiled: object, choose: random.Random, schema: object) -> tuple[str, str]:
    """One answer; strings of bounded length get no control characters, as in the engine."""
    bounded = any(f'{mark}"' in json.dumps(schema) for mark in ("minLength", "maxLength"))
    matcher = xgr.GrammarMatcher(compiled)
    mask = xgr.allocate_token_bitmask(1, len(WORDS))
    written = b""
    for step in range(MOST):
        matcher.fill_next_token_bitmask(mask, 0)
        bits = mask[0].numpy().view(np.uint32)
        allowed = [n for n in range(len(WORDS)) if bits[n >> 5] >> (n & 31) & 1]
        if bounded:
            allowed = [n for n in allowed if not any(b < 32 and b != 10 for b in WORDS[n])]
        if not allowed:
            return "stuck", written.decode(errors="replace")
        if STOP in allowed and (len(allowed) == 1 or choose.random() < 0.5):
            return "stop", written.decode(errors="replace")
        words = [n for n in allowed if n != STOP]
        words = [n for n in words if WORDS[n].strip()] or words
        closing = [n for n in words if WORDS[n][:1] in b'"}]']
        hurry = closing and choose.random() < min(0.8, 0.2 + step / 150)
        token = choose.choice(closing if hurry else words)
        matcher.accept_token(token)
        written += WORDS[token]
    return "length", written.decode(errors="replace")


main()
