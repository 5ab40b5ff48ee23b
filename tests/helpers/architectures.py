"""Tiny checkpoints of many architectures: transformers' own classes, random weights, a real tokenizer."""

from pathlib import Path

WIDTH, DEPTH, HEADS = 64, 4, 4
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS,
         "intermediate_size": 128, "max_position_embeddings": 256}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 2}
GPT2 = {"n_embd": WIDTH, "n_layer": DEPTH, "n_head": HEADS, "n_positions": 256}
SLIDING = {"sliding_window": 8, "layer_types": 2 * ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
LATENT = {"q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16,
          "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
          "topk_group": 1, "moe_intermediate_size": 64, "first_k_dense_replace": 1}  # fmt: skip


def small_tokenizer(vocabulary=512):
    """A byte-pair tokenizer of few tokens, trained on the texts that models read here."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    from greenbench.models.texts import passages

    plain = ByteLevelBPETokenizer()
    ends = ["<s>", "</s>"]
    plain.train_from_iterator(
        passages("calibrate")[:200], vocabulary, special_tokens=ends, show_progress=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain._tokenizer, bos_token="<s>", eos_token="</s>"
    )


DECODERS = {
    "gpt2": GPT2,
    "gpt_neo": {"hidden_size": WIDTH, "num_layers": DEPTH, "num_heads": HEADS,
                "attention_types": [[["global", "local"], 2]], "max_position_embeddings": 256,
                "window_size": 16},
    "gptj": GPT2 | {"rotary_dim": 8},
    "gpt_neox": SIZES,
    "gpt_bigcode": GPT2,
    "codegen": GPT2 | {"rotary_dim": 8},
    "opt": {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS,
            "ffn_dim": 128, "max_position_embeddings": 256, "word_embed_proj_dim": WIDTH},
    "bloom": {"hidden_size": WIDTH, "n_layer": DEPTH, "n_head": HEADS},
    "falcon": {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS},
    "mpt": {"d_model": WIDTH, "n_layers": DEPTH, "n_heads": HEADS, "max_seq_len": 256},
    "llama": GROUPED,
    "mistral": GROUPED | {"sliding_window": 16},
    "qwen2": GROUPED,
    "qwen3": GROUPED | {"head_dim": 16},
    "gemma": GROUPED | {"head_dim": 16},
    "gemma2": GROUPED | {"head_dim": 16} | SLIDING,
    "gemma3_text": GROUPED | {"head_dim": 16} | SLIDING,
    "phi": GROUPED,
    "phi3": GROUPED,
    "stablelm": GROUPED,
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "starcoder2": GROUPED,
    "cohere": GROUPED,
    "granite": GROUPED,
    "smollm3": GROUPED,
    "nemotron": GROUPED | {"head_dim": 16},
    "mixtral": GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": GROUPED | EXPERTS | {"shared_expert_intermediate_size": 64},
    "qwen3_moe": GROUPED | EXPERTS | {"head_dim": 16},
    "olmoe": GROUPED | {"num_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": GROUPED | SLIDING | {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2},
    "granitemoe": GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": SIZES | LATENT | {"num_key_value_heads": HEADS},
    "dbrx": {"d_model": WIDTH, "n_layers": DEPTH, "n_heads": HEADS, "max_seq_len": 256,
             "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
             "ffn_config": {"ffn_hidden_size": 128, "moe_num_experts": 4, "moe_top_k": 2}},
}  # fmt: skip
"""Settings of a small model by its type's name."""


def checkpoint(kind: str, tokenizer, directory: Path, dtype="float32", **more) -> Path:
    """`directory` with a random model of `kind` and the `tokenizer`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model(
        kind,
        **DECODERS[kind] | more,
        **ends,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.eos_token_id,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.05)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
