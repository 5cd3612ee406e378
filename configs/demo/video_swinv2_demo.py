# A video classifier on drawn clips: the model of configs/kinetics400/, small enough for two CPU cores.
#
# Command: swinv2 demo --task video makes the clips and the pre-trained image weights, and runs this file. Afterwards
#          swinv2 train demo/video_swinv2_demo --cfg-options \
#              load_from=work_dirs/demo/video/classifier.pth
#          trains it again (MOTION_ROOT names the data's folder where it is another one).
import os.path as osp

_base_ = ["../_base_/models/swinv2_video.py", "../_base_/video_runtime.py", "../_base_/demo_runtime.py"]

classes = ("left", "right", "up", "down", "turning", "growing", "shrinking")

model = dict(
    # 4 frames of 64 x 64 pixels are 2 x 16 x 16 tokens. The image classifier was trained with a window of 4.
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=32, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8)),
        window_size=(2, 4, 4),
        drop_path_rate=0.0,
    ),
    # Ten times the usual initial weights: only motion separates these classes, to which an inflated model is blind at
    # first, and through a head of small weights it never learns to look.
    cls_head=dict(in_channels=256, num_classes=len(classes), dropout_ratio=0.0, init_std=0.1),
)

# No flip: it would turn left into right.
train_pipeline = [
    dict(type="swinv2_dense.OpenClip"),
    dict(type="SampleFrames", clip_len=4, frame_interval=1),
    dict(type="swinv2_dense.DecodeClip"),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs", meta_keys=("filename",)),
]
test_pipeline = [
    dict(type="swinv2_dense.OpenClip"),
    dict(type="SampleFrames", clip_len=4, frame_interval=1, test_mode=True),
    *train_pipeline[2:],
]

dataset = dict(
    type="swinv2_dense.VideoClips",
    data_root=osp.join("{{'$MOTION_ROOT:work_dirs/demo/video/data/'}}", ""),
    metainfo=dict(classes=classes),
    num_classes=len(classes),
)
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        **dataset,
        ann_file="kinetics400_train_list_videos.txt",
        data_prefix=dict(video="videos_train/"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    dataset=dict(
        **dataset,
        ann_file="kinetics400_val_list_videos.txt",
        data_prefix=dict(video="videos_val/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="AccMetric")
test_evaluator = val_evaluator

# An inflated model sees every order of the same frames alike. For the first hundred iterations the loss hardly falls.
iterations = 400
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=100)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=iterations, T_max=iterations - 50),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=iterations), logger=dict(interval=10))
log_processor = dict(by_epoch=False)
