"""Makes the losses of 20 steps of training a LoRA adapter for a tiny Llama, as PEFT and PyTorch's AdamW compute them.

    python golden/finetune_lora.py              writes golden/finetune_lora/: the adapter before training, as PEFT saves it, and losses.json

The model is that of golden/tiny/rope-linear, in float32; data, batches, loss, schedule and clipping are those of golden/finetune.py.
B does not begin at 0 but small, so that A has gradients in the first step, too. The last loss is that of the trained adapter after
PEFT has saved it and read it again.

    python golden/finetune_lora.py --check DIR  prints that loss for an adapter that fathom wrote, and the difference; the adapter that
                                       FATHOM_KEEP_ADAPTER=DIR build/torch/train_test --gtest_filter=Adapter.TrainsAsPeftDoes leaves there
"""

import json
import sys
import tempfile
from pathlib import Path

import peft
import torch
import transformers
from finetune import GOLDEN, MODELS, OPTIONS, micro_batch_loss, sequences, train
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

STEPS = 20
RANK, ALPHA = 4, 8
OUT = GOLDEN / "finetune_lora"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def base() -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(GOLDEN / MODELS["llama"], dtype=torch.float32).eval()


def loss_of(model: torch.nn.Module, rows: list[dict]) -> float:
    """Per response token, of all rows."""
    with torch.no_grad():
        return float(micro_batch_loss(model, rows)) / sum(len(row["ids"]) - row["prompt"] for row in rows)


def reloaded(folder: Path) -> torch.nn.Module:
    return PeftModel.from_pretrained(base(), folder).eval()


def make() -> None:
    torch.manual_seed(3)
    model = get_peft_model(base(), LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    model.peft_config["default"].base_model_name_or_path = "rope-linear"  # no path of this machine
    model.save_pretrained(OUT)
    (OUT / "README.md").unlink(missing_ok=True)
    rows = sequences(model.config.vocab_size)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=OPTIONS["learning_rate"], betas=(OPTIONS["beta1"], OPTIONS["beta2"]), eps=OPTIONS["epsilon"],
                                  weight_decay=OPTIONS["weight_decay"])
    batches, losses = train(model, optimizer, rows, STEPS)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        after = loss_of(reloaded(Path(folder)), rows)
    print(f"{losses[0]} to {losses[-1]}, {after} of all rows after training")
    result = {"peft": peft.__version__, "transformers": transformers.__version__, "torch": torch.__version__, "steps": STEPS, "rank": RANK,
              "alpha": ALPHA, "sequences": rows, "batches": batches, "losses": losses, "after": round(after, 6)}
    text = json.dumps(result, separators=(",", ":")).replace('},{"ids"', '},\n{"ids"').replace('"batches"', '\n"batches"').replace('"losses"', '\n"losses"')
    (OUT / "losses.json").write_text(text + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        checked = reloaded(Path(sys.argv[2]))
        loss = loss_of(checked, sequences(checked.config.vocab_size))
        expected = json.loads((OUT / "losses.json").read_text())["after"]
        print(f"{loss:.6f}, {loss - expected:+.6f} from PEFT's own")
        sys.exit(abs(loss - expected) > 1e-4)
    else:
        make()
