# SwinV2-B on ImageNet-22K, 192 x 192 pixels, window 12, 21,841 classes.
#
# Source:  arXiv 2111.09883, appendix; authors' configs/swinv2/swinv2_base_patch4_window12_192_22k.yaml. Drop path 0.2.
# Command: IMAGENET22K_ROOT=data/imagenet22k/ tools/dist_train.sh configs/imagenet/swinv2_b_w12_192_22k.py 32 --amp
# Paper:   no accuracy on ImageNet-22K. Not reproduced here.
_base_ = [
    "../_base_/models/swinv2_classifier.py",
    "../_base_/datasets/imagenet22k_192.py",
    "../_base_/schedules/imagenet22k_90e.py",
    "../_base_/classification_runtime.py",
]

model = dict(
    data_preprocessor=dict(num_classes=21841),
    backbone=dict(arch="base", window_size=12, drop_path_rate=0.2),
    head=dict(num_classes=21841, in_channels=1024),
)
