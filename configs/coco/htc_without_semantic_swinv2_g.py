# HTC without the semantic branch, SwinV2-G, COCO 2017: for data without stuffthingmaps.
#
# Source:  as htc_swinv2_g.py, which says what is the paper's and what is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/htc_without_semantic_swinv2_g.py 96
# Weights: as htc_swinv2_g.py.
# Paper:   no such row. Not reproduced here.
_base_ = [
    "../_base_/models/htc_without_semantic_swinv2.py",
    "../_base_/datasets/coco_instance_lsj.py",
    "../_base_/schedules/adamw_45k.py",
    "../_base_/detection_runtime_by_iteration.py",
    "../_base_/strategies/zero1.py",
]

load_from = "work_dirs/htc_boxonly_swinv2_g/iter_67500.pth"
model = dict(
    # Every training batch is exactly 1536 x 1536; in testing each picture keeps its own size.
    data_preprocessor=dict(batch_augments=[dict(type="BatchFixedSizePad", size=(1536, 1536), pad_mask=True)]),
    # 3 billion parameters: activations are computed again in the backward pass (section 3.5).
    backbone=dict(arch="giant", drop_path_rate=0.4, with_cp=True),
    neck=dict(in_channels=[512, 1024, 2048, 4096]),
)
# G's row has no InstaBoost.
train_pipeline = [step for step in _base_.train_pipeline if step.type != "swinv2_dense.InstaBoost"]
train_dataloader = dict(sampler=dict(type="InfiniteSampler"), dataset=dict(pipeline=train_pipeline))

# Figure 2 of the paper, drawn every 1000 iterations: features that grow from block to block show early.
default_hooks = dict(amplitude=dict(type="swinv2_dense.AmplitudeHook"))
