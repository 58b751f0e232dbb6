"""Small tokenizers of every family, trained in a moment, and texts that are hard to cut."""

import random
from pathlib import Path
from typing import Any

CORPUS = (Path(__file__).parents[2] / "toolkit/quantize/texts/evaluation.txt").read_text()
MARKS = ("<|im_start|>", "<|im_end|>")
_WORDS = [
    *("the", "quick", "brown", "fox", "don't", "isn't", "12", "3456", "78.90", "über", "naïve"),
    *("你好世界。", "日本語，です", "<|im_start|>user", "<|im_end|>", "😀", "$5"),
    *("a_b", "camelCase", "https://a.b/c?d=e&f=g", "ﬁ", "½", "…", "--", "'tis", "[x]", "{z}"),
    *("e\u0301", "👨\u200d👩\u200d👧", "def f(x):\n    return x[1:2]\n\n\t\tif"),
]


def families() -> dict[str, Any]:
    """GPT-2's, Qwen's, Llama 2's, T5's and BERT's way to cut text, by name."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from tokenizers import pre_tokenizers as pre

    qwen = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    gpt2 = Tokenizer(models.BPE())
    gpt2.pre_tokenizer, gpt2.decoder = pre.ByteLevel(False), decoders.ByteLevel()
    padded = Tokenizer(models.BPE())
    padded.pre_tokenizer, padded.decoder = pre.ByteLevel(True), decoders.ByteLevel()
    qwen2 = Tokenizer(models.BPE())
    qwen2.normalizer, qwen2.decoder = normalizers.NFC(), decoders.ByteLevel()
    isolated = pre.Split(Regex(qwen), "isolated")
    qwen2.pre_tokenizer = pre.Sequence([isolated, pre.ByteLevel(False, use_regex=False)])
    llama = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    llama.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    t5 = Tokenizer(models.Unigram())
    t5.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    t5.pre_tokenizer = pre.Metaspace()
    bert = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(), pre.BertPreTokenizer()
    found = {"gpt2": gpt2, "padded": padded, "qwen": qwen2, "llama": llama, "t5": t5, "bert": bert}
    for name, tokenizer in found.items():
        tokenizer.train_from_iterator(CORPUS.splitlines(), _trainer(name))
        tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    return found


def _trainer(name: str) -> Any:
    from tokenizers import pre_tokenizers, trainers

    if name == "t5":
        return trainers.UnigramTrainer(
            vocab_size=400, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
        )
    if name == "bert":
        return trainers.WordPieceTrainer(
            vocab_size=600, special_tokens=["[UNK]"], show_progress=False
        )
    alphabet = [] if name == "llama" else sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<unk>"] if name == "llama" else []
    return trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )


def texts(seed: int = 0) -> dict[str, str]:
    """Long texts by what is hard about them."""
    chance = random.Random(seed)
    gaps = [" "] * 8 + ["  ", "\n", "\n\n", ", ", "", "      "]
    mixed = "".join(chance.choice(_WORDS) + chance.choice(gaps) for _ in range(12_000))
    digits = [str(chance.randrange(10**9)) for _ in range(6000)]
    return {
        "mixed": mixed,
        "prose": CORPUS * (1 + 60_000 // len(CORPUS)),
        "numbers": ",".join(digits),
        "one number": "".join(digits),
        "table": "\n".join(f"{each}\t{each}   |" for each in digits),
        "chinese": "".join(chr(0x4E00 + chance.randrange(3000)) for _ in range(40_000)),
        "one letter": "a" * 50_000,
        "spaces": " " * 50_000 + "end",
        "emoji": "👨‍👩‍👧" * 8000,
        "marks": "".join(MARKS) * 3000,
    }
