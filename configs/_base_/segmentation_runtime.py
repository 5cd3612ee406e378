_base_ = "./default_runtime.py"

default_scope = "mmseg"
# What of ours needs mmseg.
custom_imports = dict(
    imports=["swinv2_dense", "swinv2_dense.datasets.index_maps", "swinv2_dense.visualization.class_maps"]
)
# UperNet's batch norms share their statistics over all processes; a single process keeps plain ones. Batch norm across
# processes needs GPUs: on CPUs add --cfg-options sync_bn=None.
sync_bn = "torch"

default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=4000, save_best="mIoU"),
    visualization=dict(type="swinv2_dense.ClassMapsHook"),
)
visualizer = dict(type="SegLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")], name="visualizer")
log_processor = dict(by_epoch=False)
