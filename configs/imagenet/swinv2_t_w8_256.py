# SwinV2-T on ImageNet-1K from scratch, 256 x 256 pixels, window 8.
#
# Source:  arXiv 2111.09883, appendix; authors' configs/swinv2/swinv2_tiny_patch4_window8_256.yaml. Drop path 0.2.
# Command: IMAGENET_ROOT=data/imagenet/ tools/dist_train.sh configs/imagenet/swinv2_t_w8_256.py 16 --amp
#          IMAGENET_ROOT=data/imagenet/ swinv2 test imagenet/swinv2_t_w8_256 PATH
#          PATH is this config's checkpoint, or a released one as it is: swinv2_tiny_patch4_window8_256.pth.
# Paper:   top-1 81.8. Not reproduced here.
_base_ = [
    "../_base_/models/swinv2_classifier.py",
    "../_base_/datasets/imagenet_256.py",
    "../_base_/schedules/imagenet_300e.py",
    "../_base_/classification_runtime.py",
]
