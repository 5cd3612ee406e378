# Kinetics-400 as lists of "path label", which swinv2 prepare kinetics400 writes; 16 frames of 256 x 256 pixels.
#
#   K400_ROOT/kinetics400_{train,val}_list_videos.txt
#   K400_ROOT/videos_{train,val}/CLASS/NAME.mp4
import os.path as osp

# The paper says neither how many frames a token has nor how far apart they are. 16 frames, every fourth of the video:
# 8 tokens of 2 frames that span 64 frames, about 2 s, which is the span of Video Swin V1 (32 frames, every second).
frames = dict(type="SampleFrames", clip_len=16, frame_interval=4, num_clips=1)

# Video Swin V1's augmentation; the paper is silent.
train_pipeline = [
    dict(type="swinv2_dense.OpenClip"),
    frames,
    dict(type="swinv2_dense.DecodeClip"),
    dict(type="Resize", scale=(-1, 292)),
    dict(type="RandomResizedCrop"),
    dict(type="Resize", scale=(256, 256), keep_ratio=False),
    dict(type="Flip", flip_ratio=0.5),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs", meta_keys=("filename", "img_shape")),
]
# One view: the middle of the clip in time and space. Shared by validation and testing.
test_pipeline = [
    dict(type="swinv2_dense.OpenClip"),
    dict(frames, test_mode=True),
    dict(type="swinv2_dense.DecodeClip"),
    dict(type="Resize", scale=(-1, 256)),
    dict(type="CenterCrop", crop_size=256),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs", meta_keys=("filename", "img_shape")),
]

root = osp.join("{{'$K400_ROOT:data/kinetics400/'}}", "")  # with or without a slash at the end
dataset = dict(
    type="swinv2_dense.VideoClips",
    data_root=root,
    metainfo=dict(classes=root + "label_map_k400.txt"),  # names for pictures of predictions
    num_classes=400,
)
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        **dataset,
        ann_file="kinetics400_train_list_videos.txt",
        data_prefix=dict(video="videos_train/"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
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
