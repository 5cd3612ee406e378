# What every task shares. The task's own runtime (detection_runtime.py, ...) adds its scope and its visualizer.
custom_imports = dict(imports=["swinv2_dense"], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    # Stops before the weights are spoilt; action="skip", max_skips=10 leaves such an update out.
    nonfinite_loss=dict(type="swinv2_dense.NonFiniteLossHook"),
)
env_cfg = dict(
    cudnn_benchmark=False,
    # Readers are processes of their own: OpenCV threads inside each of them only compete for the same cores.
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=True)
log_level = "INFO"

# An image of more pixels is refused before it is decoded.
max_image_pixels = 178_956_970

# Weights to start from: a classification checkpoint of any publisher, or one of our own detectors.
load_from = None
resume = False
