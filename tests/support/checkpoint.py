"""A language model directory that looks right to the toolkit but does not contain a model."""

import json
from pathlib import Path

NO_TENSORS = (2).to_bytes(8, "little") + b"{}"


def save_checkpoint(folder: Path, context_length: int = 512, chat: bool = True) -> Path:
    """Writes config, tokenizer and a safetensors file of a few bytes."""
    folder.mkdir(parents=True)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8}
    config = {"max_position_embeddings": context_length, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(NO_TENSORS)
    if chat:
        (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def save_spec(folder: Path, *names: str, context_length: int = 256) -> Path:
    """A models.yaml beside a directory `weights`, with one language model per name."""
    if not (folder / "weights").exists():
        save_checkpoint(folder / "weights")
    entries = "".join(
        f"  {name}:\n    kind: llm\n    source: path:weights\n"
        f"    context_length: {context_length}\n    aliases: [{name}-alias]\n"
        for name in names
    )
    file = folder / "models.yaml"
    file.write_text(f"version: 1\nmodels:\n{entries}")
    return file


def tree(root: Path) -> dict[str, bytes]:
    """Every file below `root` with its content; links count as their target's name."""
    return {
        path.relative_to(root).as_posix(): (
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        )
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
