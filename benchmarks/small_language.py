"""Small language and speech models of ``transformers``, the decoders with and without a key/value cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .small_model import Sizes, SmallModel, masked, words

_LINES = {"batch": 2, "seq": 7}
_BOUNDS = {"batch": 3, "seq": 12, "past": 10}
_TOKENS = {"input_ids": {0: "batch", 1: "seq"}, "attention_mask": {0: "batch", 1: "seq"}}
_VOCABULARY, _HEADS, _LAYERS, _HEAD_SIZE = 99, 4, 2, 8
_WIDE = {
    "vocab_size": _VOCABULARY, "hidden_size": 32, "num_attention_heads": _HEADS, "intermediate_size": 64,
    "num_hidden_layers": _LAYERS, "max_position_embeddings": 64, "use_cache": False,
}  # fmt: skip


def _of(model: str, config: str, part: str = "", /, **options: Any) -> Callable[[], Any]:
    """Return what builds a class of transformers from a configuration, or a part of it."""

    def build() -> Any:
        import transformers

        whole = getattr(transformers, model)(getattr(transformers, config)(**options))
        return getattr(whole, f"get_{part}")() if part else whole

    return build


def cached(build: Callable[[], Any]) -> Callable[[], Any]:
    """Return what builds a decoder that takes and gives its cache as a list of pairs [batch, heads, past, size]."""

    def whole() -> Any:
        import torch
        from transformers.cache_utils import DynamicCache

        class Step(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = build()

            def forward(self, input_ids: Any, attention_mask: Any, past: list[Any]) -> dict[str, Any]:
                cache = DynamicCache()
                for layer, (key, value) in enumerate(zip(past[::2], past[1::2], strict=True)):
                    cache.update(key, value, layer)
                result = self.body(
                    input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True
                )
                present = [each for layer in result.past_key_values.layers for each in (layer.keys, layer.values)]
                return {"logits": result.logits, "present": present}

        return Step()

    return whole


def _step(heads: int) -> Callable[[Sizes], dict[str, Any]]:
    def draw(sizes: Sizes) -> dict[str, Any]:
        import torch

        batch, seq, past = sizes["batch"], sizes["seq"], sizes["past"]
        mask = torch.ones(batch, past + seq, dtype=torch.int64)
        mask[0, : past // 2] = 0
        caches = [torch.randn(batch, heads, past, _HEAD_SIZE) for _ in range(2 * _LAYERS)]
        return {"input_ids": torch.randint(0, _VOCABULARY, (batch, seq)), "attention_mask": mask, "past": caches}

    return draw


def _decoder_inputs(sizes: Sizes) -> dict[str, Any]:
    import torch

    states = torch.randn(sizes["batch"], 6, 32)
    return {**masked(words(_VOCABULARY, "input_ids"))(sizes), "encoder_hidden_states": states}


def _spectrogram(sizes: Sizes) -> dict[str, Any]:
    import torch

    return {"input_features": torch.randn(sizes["batch"], 8, 40)}


_CACHE = {
    "input_ids": {0: "batch"}, "attention_mask": {0: "batch", 1: "past + seq"},
    "past": [{0: "batch", 2: "past"}] * (2 * _LAYERS),
}  # fmt: skip
_STEP_SIZES = {"batch": 2, "seq": 1, "past": 5}
_DECODER = {**_TOKENS, "encoder_hidden_states": {0: "batch"}}
_T5 = {
    "vocab_size": _VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": _LAYERS, "num_heads": _HEADS,
    "use_cache": False,
}  # fmt: skip
_GPT2 = {
    "vocab_size": _VOCABULARY, "n_embd": 32, "n_head": _HEADS, "n_layer": _LAYERS, "n_positions": 64,
    "use_cache": False, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
_LLAMA = {**_WIDE, "num_key_value_heads": 2}
_WHISPER = {
    "vocab_size": _VOCABULARY, "d_model": 32, "encoder_layers": _LAYERS, "decoder_layers": _LAYERS,
    "encoder_attention_heads": _HEADS, "decoder_attention_heads": _HEADS, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 32, "use_cache": False, "pad_token_id": 0,
    "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0,
}  # fmt: skip
_gpt2, _llama = _of("GPT2LMHeadModel", "GPT2Config", **_GPT2), _of("LlamaForCausalLM", "LlamaConfig", **_LLAMA)
_plain = masked(words(_VOCABULARY, "input_ids"))

LANGUAGE = (
    SmallModel("BERT", _of("BertModel", "BertConfig", **_WIDE), _plain, _LINES, _TOKENS, _BOUNDS),
    SmallModel("RoBERTa", _of("RobertaModel", "RobertaConfig", **_WIDE), _plain, _LINES, _TOKENS, _BOUNDS),
    SmallModel("T5 encoder", _of("T5Model", "T5Config", "encoder", **_T5), _plain, _LINES, _TOKENS, _BOUNDS),
    SmallModel("T5 decoder", _of("T5Model", "T5Config", "decoder", **_T5), _decoder_inputs, _LINES, _DECODER, _BOUNDS),
    SmallModel("GPT-2", _gpt2, _plain, _LINES, _TOKENS, _BOUNDS),
    SmallModel("GPT-2, cache", cached(_gpt2), _step(_HEADS), _STEP_SIZES, _CACHE, _BOUNDS),
    SmallModel("Llama", _llama, _plain, _LINES, _TOKENS, _BOUNDS),
    SmallModel("Llama, cache", cached(_llama), _step(2), _STEP_SIZES, _CACHE, _BOUNDS),
    SmallModel(
        "Whisper encoder", _of("WhisperModel", "WhisperConfig", "encoder", **_WHISPER), _spectrogram, {"batch": 2},
        {"input_features": {0: "batch"}}, _BOUNDS,
    ),
    SmallModel(
        "Whisper decoder", _of("WhisperModel", "WhisperConfig", "decoder", **_WHISPER), _decoder_inputs, _LINES,
        _DECODER, _BOUNDS,
    ),
)  # fmt: skip
