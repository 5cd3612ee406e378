_base_ = "./default_runtime.py"

# What of ours needs mmdet is imported by name.
custom_imports = dict(
    imports=[
        "swinv2_dense",
        "swinv2_dense.datasets.instances",
        "swinv2_dense.datasets.instaboost",
        "swinv2_dense.models.det_tta",
        "swinv2_dense.models.htc_roi_head",
        "swinv2_dense.visualization.detections",
    ],
    allow_failed_imports=False,
)
default_scope = "mmdet"
default_hooks = dict(visualization=dict(type="swinv2_dense.DetectionsHook"))
visualizer = dict(type="swinv2_dense.DetVisualizer", vis_backends=[dict(type="LocalVisBackend")], name="visualizer")
