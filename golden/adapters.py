"""Makes tiny LoRA adapters for small models of all families, with the logits that transformers and PEFT compute with them.

    python golden/adapters.py          writes golden/adapters/<name>/

Each folder is an adapter as PEFT saves it, and expected.json: logits at full depth with the adapter on every row, and those of
the response on a route, with the adapter on every row and on the response's rows only. The models are those of golden/families and
golden/tiny; a route runs as families.py says.
"""

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DynamicCache

from families import Reference, rounded

GOLDEN = Path(__file__).parent
PROMPT, RESPONSE, SAMPLE = 14, 8, 10
GATED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass
class Variant:
    """One adapter: its model, its settings, and the type that its factors are stored in."""
    model: str
    settings: dict
    stored: torch.dtype = torch.float32


VARIANTS = {
    "llama": Variant("tiny/wide-heads", {"r": 3, "lora_alpha": 6, "target_modules": GATED}),
    "mistral": Variant("families/mistral", {"r": 2, "lora_alpha": 3, "target_modules": GATED, "layers_to_transform": [0, 2]},
                       torch.float16),
    "qwen2": Variant("families/qwen2", {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], "use_rslora": True},
                     torch.bfloat16),
    "qwen3": Variant("families/qwen3", {"r": 3, "lora_alpha": 5, "target_modules": GATED, "rank_pattern": {"mlp.down_proj": 6},
                                        "alpha_pattern": {"k_proj": 2}}),
    "smollm3": Variant("families/smollm3", {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"}, torch.float16),
    "gemma3": Variant("families/gemma3", {"r": 3, "lora_alpha": 3, "target_modules": GATED}),
    "opt": Variant("families/opt", {"r": 3, "lora_alpha": 6,
                                    "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]}),
    "opt-post-norm": Variant("families/opt-post-norm", {"r": 2, "lora_alpha": 2, "target_modules": ["v_proj", "fc1", "fc2"]}),
    "gpt2": Variant("families/gpt2", {"r": 4, "lora_alpha": 6, "target_modules": ["c_attn", "c_proj", "c_fc"],
                                      "fan_in_fan_out": True}, torch.float16),
}


def draw_factors(model: torch.nn.Module, stored: torch.dtype, seed: int) -> None:
    """Fills the factors with what the stored type can hold, large enough that logits change."""
    draws = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            continue
        deviation = parameter.shape[1] ** -0.5 * (0.4 if "lora_B" in name else 1.0)
        parameter.data = (torch.randn(parameter.shape, generator=draws) * deviation).to(stored).float()


def make(name: str, variant: Variant, folder: Path, seed: int) -> None:
    base = AutoModelForCausalLM.from_pretrained(GOLDEN / variant.model, dtype=torch.float32, attn_implementation="eager")
    adapted = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", inference_mode=True, **variant.settings)).eval()
    draw_factors(adapted, variant.stored, seed)
    reference = Reference(adapted.base_model.model)
    vocabulary = base.config.vocab_size
    draws = random.Random(seed)
    ids = [draws.randrange(3, vocabulary) for _ in range(PROMPT + RESPONSE)]
    sample = sorted(random.Random(3).sample(range(vocabulary), SAMPLE))
    every = list(range(1, len(reference.layers) + 1))
    route = [1, 3] if len(every) > 3 else [1, len(every)]

    full = adapted(torch.tensor([ids])).logits[0]
    with adapted.disable_adapter():
        plain = base(torch.tensor([ids])).logits[0]

    def response(cache: DynamicCache) -> torch.Tensor:
        return torch.cat([reference.run([token], route, cache, PROMPT + i) for i, token in enumerate(ids[PROMPT:])])

    cache = DynamicCache()
    layered = reference.run(ids[:PROMPT], every, cache, 0)
    assert float((layered - full[:PROMPT]).abs().max()) < 2e-5
    all_rows = response(cache)
    cache = DynamicCache()
    with adapted.disable_adapter():
        reference.run(ids[:PROMPT], every, cache, 0)
    routed_rows = response(cache)
    cache = DynamicCache()
    with adapted.disable_adapter():
        reference.run(ids[:PROMPT], every, cache, 0)
        without = response(cache)
    print(f"{name}: the adapter moves logits by {float((full - plain).abs().mean()):.2f} at full depth and "
          f"{float((routed_rows - without).abs().mean()):.2f} on the route; rows of the prompt by "
          f"{float((all_rows - routed_rows).abs().mean()):.2f}")

    adapted.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    weights = folder / "adapter_model.safetensors"
    save_file({key: value.to(variant.stored) for key, value in load_file(weights).items()}, weights, metadata={"format": "pt"})
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = variant.model  # not where it lay
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    expected = {"model": variant.model, "peft": peft.__version__, "transformers": transformers.__version__,
                "torch": torch.__version__, "ids": ids, "prompt": PROMPT, "vocabulary_sample": sample,
                "full": rounded(full[:, sample]),
                "route": {"layers": route, "all": rounded(all_rows[:, sample]), "routed": rounded(routed_rows[:, sample]),
                          "without": rounded(without[:, sample])}}
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=GOLDEN / "adapters")
    output = parser.parse_args().output
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for seed, (name, variant) in enumerate(VARIANTS.items()):
        make(name, variant, output / name, seed)


if __name__ == "__main__":
    main()
