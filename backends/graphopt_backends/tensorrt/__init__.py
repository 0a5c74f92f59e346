"""TensorRT-RTX: NVIDIA's compiler for RTX GPUs, an `.engine` file out."""
