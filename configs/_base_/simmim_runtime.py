_base_ = "./default_runtime.py"

default_scope = "mmpretrain"
# What of ours needs mmpretrain.
custom_imports = dict(
    imports=["swinv2_dense", "swinv2_dense.datasets.imagenet", "swinv2_dense.datasets.block_masks"],
    allow_failed_imports=False,
)
# Masked input, reconstruction and original, in the work dir.
default_hooks = dict(
    checkpoint=dict(interval=5), reconstruction=dict(type="swinv2_dense.ReconstructionHook", interval=1000)
)
