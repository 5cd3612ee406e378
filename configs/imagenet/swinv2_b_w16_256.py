# SwinV2-B on ImageNet-1K from scratch, 256 x 256 pixels, window 16.
#
# Source:  arXiv 2111.09883, appendix; authors' configs/swinv2/swinv2_base_patch4_window16_256.yaml. Drop path 0.5.
# Command: IMAGENET_ROOT=data/imagenet/ tools/dist_train.sh configs/imagenet/swinv2_b_w16_256.py 16 --amp
#          IMAGENET_ROOT=data/imagenet/ swinv2 test imagenet/swinv2_b_w16_256 PATH
#          PATH is this config's checkpoint, or a released one as it is: swinv2_base_patch4_window16_256.pth.
# Paper:   top-1 84.6. Not reproduced here.
_base_ = "./swinv2_b_w8_256.py"

model = dict(backbone=dict(window_size=16))
