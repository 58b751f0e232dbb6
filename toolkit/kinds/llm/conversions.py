"""How a language model's weights become a checkpoint that vLLM loads."""

from toolkit.kinds.conversion import Conversion, Rate

GGUF = Conversion(
    "toolkit.convert.gguf",
    "convert_gguf",
    5,
    ("torch", "transformers", "gguf"),
    "GGUF to safetensors",
    Rate(10, 110, memory=4.3),  # 135M: 59 s of CPU, 1.76 GB
    check="gguf",
)
# no libraries: the bytes of a copy do not depend on their versions
CHECKPOINT = Conversion(
    "toolkit.convert.checkpoint",
    "convert_checkpoint",
    6,
    (),
    "check and copy safetensors",
    Rate(1, 3, start_bytes=0.2e9, memory=0.0),
    check="checkpoint",
)
