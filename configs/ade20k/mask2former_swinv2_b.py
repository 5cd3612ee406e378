# Mask2Former with SwinV2-B on ADE20K. Beyond the paper, which has UperNet only.
#
# Source:  arXiv 2112.01527, its recipe for Swin V1 at 640 x 640: AdamW 1e-4 with the backbone at a tenth of it, weight
#          decay 0.05, gradients clipped at 0.01, batch 16, 160,000 iterations, polynomial decay of power 0.9 without
#          warm-up. Window 40 is that of the SwinV2 paper at this size.
# Command: ADE20K_ROOT=data/ade20k/ tools/dist_train.sh configs/ade20k/mask2former_swinv2_b.py 8
# Weights: starts from scratch as it stands; --cfg-options load_from=PATH, a SwinV2-B of any publisher.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = [
    "../_base_/models/mask2former_swinv2.py",
    "../_base_/datasets/ade20k_640.py",
    "../_base_/segmentation_runtime.py",
    "../_base_/schedules/ade20k_160k.py",
]

custom_imports = dict(imports=[*_base_.custom_imports.imports, "mmdet.models"])  # the head's parts
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=1.0, backbone_lr_mult=0.1),
    clip_grad=dict(max_norm=0.01),
)
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=_base_.max_iters)]
