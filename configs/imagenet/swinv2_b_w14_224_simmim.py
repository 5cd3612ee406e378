# SwinV2-B pre-trained by SimMIM, fine-tuned on ImageNet-1K, 224 x 224 pixels, window 14.
#
# Source:  authors' configs/simmim/simmim_finetune__swinv2_base__img224_window14__800ep.yaml: layer decay 0.75,
#          drop path 0.1, 100 epochs.
# Command: IMAGENET_ROOT=data/imagenet/ tools/dist_train.sh configs/imagenet/swinv2_b_w14_224_simmim.py 32 --amp
# Weights: those of configs/simmim/simmim_swinv2_b.py. Released ones: --cfg-options load_from=PATH.
# Paper:   none; the authors' model hub reports top-1 85.04 for their release. Not reproduced here.
_base_ = [
    "../_base_/models/swinv2_classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/imagenet_simmim_100e.py",
    "../_base_/classification_runtime.py",
]

model = dict(backbone=dict(arch="base", window_size=14, drop_path_rate=0.1), head=dict(in_channels=1024))
load_from = "work_dirs/simmim_swinv2_b/epoch_800.pth"
