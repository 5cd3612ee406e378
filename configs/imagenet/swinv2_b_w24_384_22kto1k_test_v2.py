# SwinV2-B from ImageNet-22K at 384 x 384 pixels, window 24, tested on ImageNet-V2.
#
# Source:  arXiv 2111.09883, table 2. Which of the three variants is not said there; usually matched-frequency.
# Command: IMAGENETV2_ROOT=data/imagenetv2-matched-frequency-format-val \
#              swinv2 test imagenet/swinv2_b_w24_384_22kto1k_test_v2 PATH
#          The same for imagenetv2-threshold0.7-format-val and imagenetv2-top-images-format-val.
# Paper:   top-1 78.08 on ImageNet-V2. Not reproduced here.
import os.path as osp

_base_ = "./swinv2_b_w24_384_22kto1k.py"

# One variant in folders 0 ... 999, which are the labels.
test_dataloader = dict(
    dataset=dict(
        data_root=osp.join("{{'$IMAGENETV2_ROOT:data/imagenetv2-matched-frequency-format-val/'}}", ""), data_prefix=""
    )
)
