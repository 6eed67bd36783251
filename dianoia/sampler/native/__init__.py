"""In-process sampler for dense Llama, Qwen2 and Qwen3 models, on CPU and CUDA."""
