# SwinV2-B from ImageNet-22K on ImageNet-1K, 384 x 384 pixels, window 24 (pre-trained at 192 x 192, window 12).
#
# Source:  arXiv 2111.09883, appendix; authors' configs/swinv2/
#          swinv2_base_patch4_window12to24_192to384_22kto1k_ft.yaml. Drop path 0.2.
# Command: IMAGENET_ROOT=data/imagenet/ tools/dist_train.sh configs/imagenet/swinv2_b_w24_384_22kto1k.py 16 --amp
#          IMAGENET_ROOT=data/imagenet/ swinv2 test imagenet/swinv2_b_w24_384_22kto1k PATH
# Weights: the authors' 22K model is downloaded; of its head the rows of the 1,000 classes are taken. Another one:
#          --cfg-options load_from=PATH, such as work_dirs/swinv2_b_w12_192_22k/epoch_90.pth.
# Paper:   top-1 87.1 (model zoo of the authors). Not reproduced here.
_base_ = [
    "../_base_/models/swinv2_classifier.py",
    "../_base_/datasets/imagenet_384.py",
    "../_base_/schedules/imagenet_22kto1k_30e.py",
    "../_base_/classification_runtime.py",
]

model = dict(backbone=dict(arch="base", window_size=24, drop_path_rate=0.2), head=dict(in_channels=1024))
load_from = (
    "https://github.com/SwinTransformer/storage/releases/download/v2.0.0/swinv2_base_patch4_window12_192_22k.pth"
)
