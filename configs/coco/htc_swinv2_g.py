# HTC with SwinV2-G on COCO 2017, the paper's HTC++ recipe, from the Objects365 model.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO and its appendix. Train 1536 x 1536, window 32; AdamW 6e-4,
#          weight decay 0.05, batch 96, 45,000 iterations; jitter [0.1, 2.0], soft-NMS; test at 1100, window 32. The
#          paper does not say the drop path; 0.4, its own on ADE20K, is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/htc_swinv2_g.py 96
# Weights: those that objects365/htc_boxonly_swinv2_g.py leaves in work_dirs. The mask and semantic branches are new,
#          and so are the classifiers, because the classes are others. The authors never released G.
# Paper:   box AP 61.7, mask AP 53.3 on val2017 (mini-val), reported in the paper. Not reproduced here.
# Testing: htc_swinv2_g_test_w48.py, htc_swinv2_g_test_ms_w48.py
_base_ = [
    "../_base_/models/htc_swinv2.py",
    "../_base_/datasets/coco_instance_lsj_semantic.py",
    "../_base_/schedules/adamw_45k.py",
    "../_base_/detection_runtime_by_iteration.py",
    "../_base_/strategies/zero1.py",
]

load_from = "work_dirs/htc_boxonly_swinv2_g/iter_67500.pth"
model = dict(
    # Every training batch is exactly 1536 x 1536; in testing each picture keeps its own size.
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchFixedSizePad", size=(1536, 1536), pad_mask=True, pad_seg=True)]
    ),
    # 3 billion parameters: activations are computed again in the backward pass (section 3.5).
    backbone=dict(arch="giant", drop_path_rate=0.4, with_cp=True),
    neck=dict(in_channels=[512, 1024, 2048, 4096]),
)
# G's row has no InstaBoost.
train_pipeline = [step for step in _base_.train_pipeline if step.type != "swinv2_dense.InstaBoost"]
train_dataloader = dict(sampler=dict(type="InfiniteSampler"), dataset=dict(pipeline=train_pipeline))

# Figure 2 of the paper, drawn every 1000 iterations: features that grow from block to block show early.
default_hooks = dict(amplitude=dict(type="swinv2_dense.AmplitudeHook"))
