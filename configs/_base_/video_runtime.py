_base_ = "./default_runtime.py"

default_scope = "mmaction"
custom_imports = dict(
    imports=[
        "swinv2_dense.compat.mmaction_imports",  # first: mmaction2's last release does not import by itself
        "swinv2_dense",
        "swinv2_dense.datasets.video_clips",
        "swinv2_dense.datasets.video_crops",
        "swinv2_dense.visualization.clip_strips",
    ],
    allow_failed_imports=False,
)
default_hooks = dict(visualization=dict(type="swinv2_dense.ClipStripsHook"))
