"""A model small enough for closed-form checks."""


def tiny_llama(layers=4, seed=0):
    """A random Llama of 4 blocks, small enough for closed-form checks."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=256,
            max_position_embeddings=256,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    ).eval()


def tiny_mixture(kind="mixtral", **more):
    """A random mixture of 4 experts, of which a token uses 2, in each of 4 blocks."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from helpers.architectures import DECODERS

    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, **DECODERS[kind] | more, **ends, vocab_size=256)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.1)
    return model


def small(kind):
    """A random model of another family, as small."""
    import torch
    from transformers import (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        GPTNeoXConfig,
        GPTNeoXForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    torch.manual_seed(0)
    shape = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 256,
             "intermediate_size": 128, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1}  # fmt: skip
    grouped = {"num_key_value_heads": 2, "head_dim": 16}
    make = {
        "gemma3": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(
                **shape,
                **grouped,
                sliding_window=8,
                layer_types=2 * ["sliding_attention", "full_attention"],
            )
        ),
        "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**shape)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**shape, **grouped)),
    }
    return make[kind]().eval().requires_grad_(False)
