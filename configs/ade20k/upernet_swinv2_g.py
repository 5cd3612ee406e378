# UperNet with SwinV2-G on ADE20K, the paper's system recipe.
#
# Source:  arXiv 2111.09883, system-level comparison on ADE20K and its appendix. Train 640 x 640, window 40; AdamW 4e-5,
#          weight decay 0.05, drop path 0.4, batch 32, 80,000 iterations, linear decay, warm-up 750.
# Command: ADE20K_ROOT=data/ade20k/ tools/dist_train.sh configs/ade20k/upernet_swinv2_g.py 32
# Weights: the authors never released G. This file starts from scratch; --cfg-options load_from=PATH takes your own.
# Paper:   mIoU 59.1; at 896 pixels with window 56: 59.3, multi-scale 59.9. Not reproduced here.
# Testing: as upernet_swinv2_l.py; upernet_swinv2_g_test_896_w56.py for 896 pixels with window 56.
_base_ = [
    "../_base_/models/upernet_swinv2_640_w40.py",
    "../_base_/datasets/ade20k_640.py",
    "../_base_/segmentation_runtime.py",
    "../_base_/schedules/ade20k_80k.py",
    "../_base_/strategies/zero1.py",
]

model = dict(
    # 3 billion parameters: activations are computed again in the backward pass (section 3.5)
    backbone=dict(arch="giant", drop_path_rate=0.4, with_cp=True),
    decode_head=dict(in_channels=[512, 1024, 2048, 4096]),
    auxiliary_head=dict(in_channels=2048),
)
train_dataloader = dict(batch_size=1)  # 32 GPUs x 1 = the paper's 32

# Figure 2 of the paper, drawn every 1000 iterations: features that grow from block to block show early.
default_hooks = dict(amplitude=dict(type="swinv2_dense.AmplitudeHook"))
