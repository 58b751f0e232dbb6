"""Tiny random weights of real shapes, made in a moment: tokenizers, graphs, a diffusion pipeline.

Everything is seeded; nothing is downloaded.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

CHAT_TEMPLATE = (
    "{% if tools %}tools: {% for tool in tools %}{{ tool.function.name }}{% endfor %}"
    "{{ '\n' }}{% endif %}"
    "{% for message in messages %}"
    "{% if message.content == 'FAIL' %}{{ raise_exception('no such thing') }}{% endif %}"
    "<|im_start|>{{ message.role }}\n"
    "{{ message.content | upper if shout else message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_LLAMA: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
"""Sizes of a Llama of two layers."""


def write_chat_tokenizer(folder: Path, template: str = CHAT_TEMPLATE) -> Any:
    """A byte-level tokenizer of 256 bytes and three special tokens, with a chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number + 3 for number, character in enumerate(alphabet)}
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary |= {name: number for number, name in enumerate(special)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[2]
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    return fast


def write_llama(folder: Path, **config: Any) -> None:
    """A random llama over `write_chat_tokenizer`'s vocabulary: 2 layers, 100 k parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    write_chat_tokenizer(folder)
    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=259,
        **_LLAMA,
        **config,
    )
    LlamaForCausalLM(settings).to(torch.bfloat16).save_pretrained(folder)


def write_word_tokenizer(folder: Path) -> None:
    """`tokenizer.json`: words, with [CLS] before and [SEP] after."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "house", "the", "sees"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_encoder(path: Path, dimensions: int = 8) -> np.ndarray:
    """A graph that averages the vectors of a text's tokens and normalizes; returns its table."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(0).standard_normal((16, dimensions)).astype(np.float32)
    one = np.array([1], dtype=np.int64)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"]),
        helper.make_node("Mul", ["vectors", "column"], ["real"]),
        helper.make_node("ReduceSum", ["real", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum", "one"], ["norm"], keepdims=1),
        helper.make_node("Div", ["sum", "norm"], ["embedding"]),
    ]
    shape = ["B", "L"]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, shape),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", dimensions])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(one, "one"),
            numpy_helper.from_array(np.array([-1], dtype=np.int64), "last"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return table


def make_pipeline(folder: Path) -> Any:
    """A random Stable-Diffusion-shaped pipeline in diffusers, its tokenizer saved to `folder`."""
    import torch
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = write_chat_tokenizer(folder)
    tokenizer.model_max_length, tokenizer.pad_token = 16, tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=2,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=8,
    )
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export_pipeline(pipeline: Any, folder: Path) -> None:
    """`text_encoder.onnx`, `denoise.onnx`, `decode.onnx`, as the contract's steps read them."""
    import torch

    class TextEncoder(torch.nn.Module):
        def forward(self, input_ids: Any) -> Any:
            return pipeline.text_encoder(input_ids)[0]

    class Denoise(torch.nn.Module):
        def forward(self, sample: Any, timestep: Any, states: Any) -> Any:
            return pipeline.unet(sample, timestep, states, return_dict=False)[0]

    class Decode(torch.nn.Module):
        def forward(self, latents: Any) -> Any:
            return pipeline.vae.decode(latents, return_dict=False)[0]

    for part in (pipeline.text_encoder, pipeline.unet, pipeline.vae):
        part.requires_grad_(False)
    space = {0: "B", 2: "h", 3: "w"}
    ids, latents = torch.ones(2, 16, dtype=torch.int64), torch.randn(2, 4, 16, 16)
    parts: list[tuple[str, Any, tuple[Any, ...], dict[str, Any]]] = [
        ("text_encoder", TextEncoder(), (ids,), {"input_ids": {0: "B"}, "embeddings": {0: "B"}}),
        (
            "denoise",
            Denoise(),
            (latents, torch.tensor([3.0]), torch.randn(2, 16, 32)),
            {"sample": space, "timestep": {}, "encoder_hidden_states": {0: "B"}, "noise": space},
        ),
        ("decode", Decode(), (latents,), {"latents": space, "image": space}),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old exporter complains of its age and of tracing
        for name, module, inputs, axes in parts:
            names = list(axes)
            torch.onnx.export(
                module.eval(),
                inputs,
                str(folder / f"{name}.onnx"),
                input_names=names[:-1],
                output_names=names[-1:],
                dynamic_axes=axes,
                opset_version=17,
                dynamo=False,
            )


SEEING_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}"
    "{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)


def write_idefics(folder: Path) -> None:
    """A random Idefics 3, which reads images of 56x56 pixels as 4 tokens each between marks."""
    import json

    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig

    tokenizer = write_chat_tokenizer(folder, SEEING_TEMPLATE)
    marks = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    marks += [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.save_pretrained(folder)
    eyes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    eyes |= {"num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    mouth = LlamaConfig(
        vocab_size=len(tokenizer),
        **_LLAMA,
        pad_token_id=0,
    )
    config = Idefics3Config(
        vision_config=eyes,
        text_config=mouth,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=False,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    Idefics3ForConditionalGeneration(config).to(torch.float32).save_pretrained(folder)
    size = {"longest_edge": 56}
    reading = {"image_processor_type": "Idefics3ImageProcessor", "size": size}
    reading |= {"max_image_size": size, "do_image_splitting": False, "rescale_factor": 1 / 255}
    reading |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 1}
    (folder / "preprocessor_config.json").write_text(json.dumps(reading))
    processor = {"processor_class": "Idefics3Processor", "image_seq_len": 4}
    (folder / "processor_config.json").write_text(json.dumps(processor))
