# SwinV2-G on ImageNet-1K, 640 x 640 pixels, window 40.
#
# Source:  arXiv 2111.09883, section 4.2 and appendix. AdamW 2.1e-5, weight decay 0.1, batch 576, 10 epochs, clipping at
#          100, RandAugment, erasing, drop path 0.5. Mixing of images is not named there and left out.
# Command: IMAGENET_ROOT=data/imagenet/ tools/dist_train.sh configs/imagenet/swinv2_g_w40_640.py 144 --amp \
#              --cfg-options load_from=PATH
#          PATH is a SwinV2-G pre-trained by configs/simmim and then on ImageNet-22K; none was ever released.
# Paper:   top-1 90.17 (ImageNet-V2 84.00). Not reproduced here.
_base_ = [
    "../_base_/models/swinv2_classifier.py",
    "../_base_/datasets/imagenet_640.py",
    "../_base_/schedules/imagenet_g_10e.py",
    "../_base_/classification_runtime.py",
    "../_base_/strategies/zero1.py",
]

model = dict(
    # 3 billion parameters: activations are computed again in the backward pass (section 3.5).
    backbone=dict(arch="giant", window_size=40, drop_path_rate=0.5, with_cp=True),
    head=dict(in_channels=4096),
    train_cfg=None,
)
# 144 GPUs with 4 images each are the batch of 576.
train_dataloader = dict(batch_size=4)
val_dataloader = dict(batch_size=4)
test_dataloader = dict(batch_size=4)
