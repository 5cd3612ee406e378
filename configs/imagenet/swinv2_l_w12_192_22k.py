# SwinV2-L on ImageNet-22K, 192 x 192 pixels, window 12, 21,841 classes.
#
# Source:  arXiv 2111.09883, appendix; authors' configs/swinv2/swinv2_large_patch4_window12_192_22k.yaml. Drop path 0.2.
# Command: IMAGENET22K_ROOT=data/imagenet22k/ tools/dist_train.sh configs/imagenet/swinv2_l_w12_192_22k.py 32 --amp
# Paper:   no accuracy on ImageNet-22K. Not reproduced here.
_base_ = "./swinv2_b_w12_192_22k.py"

model = dict(backbone=dict(arch="large"), head=dict(in_channels=1536))
