"""The machine: devices, memory, threads, and the compute functions that several rooms use.

`c_functions` compiles and calls C; `compiled`, `matmul` and `flash_attention` are PyTorch's. Not here: what is computed for a
learner (`learner.kernels`) or a sampler (`sampler.native`).
"""
