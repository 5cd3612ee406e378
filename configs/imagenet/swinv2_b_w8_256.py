# SwinV2-B on ImageNet-1K from scratch, 256 x 256 pixels, window 8.
#
# Source:  arXiv 2111.09883, appendix; authors' configs/swinv2/swinv2_base_patch4_window8_256.yaml. Drop path 0.5.
# Command: IMAGENET_ROOT=data/imagenet/ tools/dist_train.sh configs/imagenet/swinv2_b_w8_256.py 16 --amp
#          IMAGENET_ROOT=data/imagenet/ swinv2 test imagenet/swinv2_b_w8_256 PATH
#          PATH is this config's checkpoint, or a released one as it is: swinv2_base_patch4_window8_256.pth.
# Paper:   top-1 84.2. Not reproduced here.
_base_ = "./swinv2_t_w8_256.py"

model = dict(backbone=dict(arch="base", drop_path_rate=0.5), head=dict(in_channels=1024))
