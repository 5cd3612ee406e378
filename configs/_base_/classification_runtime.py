_base_ = "./default_runtime.py"

default_scope = "mmpretrain"
# What of ours needs mmpretrain.
custom_imports = dict(
    imports=["swinv2_dense", "swinv2_dense.datasets.imagenet", "swinv2_dense.visualization.labelled_images"],
    allow_failed_imports=False,
)
default_hooks = dict(
    checkpoint=dict(save_best="accuracy/top1"), visualization=dict(type="swinv2_dense.LabelledImagesHook")
)
visualizer = dict(type="UniversalVisualizer", vis_backends=[dict(type="LocalVisBackend")])
