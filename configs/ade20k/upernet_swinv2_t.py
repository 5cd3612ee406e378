# UperNet with SwinV2-T on ADE20K, the paper's ablation recipe.
#
# Source:  arXiv 2111.09883, ablations on ADE20K. Train 512 x 512, window 16; AdamW 4e-5, weight decay 0.05, layer decay
#          0.95, drop path 0.3, batch 16, 160,000 iterations, linear decay, warm-up 1,500. FCN as auxiliary head.
# Command: ADE20K_ROOT=data/ade20k/ tools/dist_train.sh configs/ade20k/upernet_swinv2_t.py 8
# Weights: starts from scratch as it stands, so that nothing needs to be downloaded. The paper fine-tunes a model of
#          ImageNet-1K at 256 x 256, window 8: add --cfg-options load_from=PATH, a SwinV2-T of any publisher.
# Paper:   mIoU 47.0 (47.7 with window 20, 47.8 with 32). Not reproduced here.
# Testing: single scale as it stands; --tta for six scales with mirror images; --cfg-options model.test_cfg.mode=slide
#          for tiles; model.backbone.window_size=20 for another window, with the same weights.
_base_ = [
    "../_base_/models/upernet_swinv2.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/segmentation_runtime.py",
    "../_base_/schedules/ade20k_160k.py",
]
