# Weights, gradients and optimizer states spread over all processes, block by block of the backbone; the blocks gather
# their weights and compute in bfloat16. Cards before Ampere know only float16: mixed_precision=None and --amp there.
strategy = dict(type="swinv2_dense.FullyShardedStrategy", mixed_precision="bfloat16")
