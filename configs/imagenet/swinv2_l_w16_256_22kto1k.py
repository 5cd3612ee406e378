# SwinV2-L from ImageNet-22K on ImageNet-1K, 256 x 256 pixels, window 16 (pre-trained at 192 x 192, window 12).
#
# Source:  arXiv 2111.09883, appendix; authors' configs/swinv2/
#          swinv2_large_patch4_window12to16_192to256_22kto1k_ft.yaml. Drop path 0.2.
# Command: IMAGENET_ROOT=data/imagenet/ tools/dist_train.sh configs/imagenet/swinv2_l_w16_256_22kto1k.py 16 --amp
#          IMAGENET_ROOT=data/imagenet/ swinv2 test imagenet/swinv2_l_w16_256_22kto1k PATH
# Weights: the authors' 22K model is downloaded; of its head the rows of the 1,000 classes are taken. Another one:
#          --cfg-options load_from=PATH, such as work_dirs/swinv2_l_w12_192_22k/epoch_90.pth.
# Paper:   top-1 86.9 (model zoo of the authors). Not reproduced here.
_base_ = "./swinv2_b_w16_256_22kto1k.py"

model = dict(backbone=dict(arch="large"), head=dict(in_channels=1536))
load_from = (
    "https://github.com/SwinTransformer/storage/releases/download/v2.0.0/swinv2_large_patch4_window12_192_22k.pth"
)
