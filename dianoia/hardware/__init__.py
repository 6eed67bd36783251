"""Devices, memory, threads, C functions, compiled and flash kernels that several rooms use."""
