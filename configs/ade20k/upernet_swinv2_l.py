# UperNet with SwinV2-L on ADE20K, the paper's system recipe.
#
# Source:  arXiv 2111.09883, system-level comparison on ADE20K and its appendix. Train 640 x 640, window 40; AdamW 6e-5,
#          weight decay 0.05, drop path 0.3, batch 64, 40,000 iterations, linear decay, warm-up 375.
# Command: ADE20K_ROOT=data/ade20k/ tools/dist_train.sh configs/ade20k/upernet_swinv2_l.py 16
# Weights: starts from scratch as it stands. The paper fine-tunes a model of ImageNet-22K at 192 x 192, window 12: add
#          --cfg-options load_from=PATH, a SwinV2-L of any publisher.
# Paper:   multi-scale mIoU 55.9 (--tta). Not reproduced here.
# Testing: single scale as it stands; --tta for six scales with mirror images; --cfg-options model.test_cfg.mode=slide
#          for tiles; another size and window as in docs/segmentation.md.
_base_ = [
    "../_base_/models/upernet_swinv2_640_w40.py",
    "../_base_/datasets/ade20k_640.py",
    "../_base_/segmentation_runtime.py",
    "../_base_/schedules/ade20k_40k.py",
]

model = dict(
    backbone=dict(arch="large"),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
train_dataloader = dict(batch_size=4)  # 16 GPUs x 4 = the paper's 64
