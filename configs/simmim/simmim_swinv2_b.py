# SimMIM pre-training of SwinV2-B on images without labels, 192 x 192 pixels, window 12.
#
# Source:  authors' configs/simmim/simmim_pretrain__swinv2_base__img192_window12__800ep.yaml.
# Command: IMAGES_ROOT=data/imagenet/train tools/dist_train.sh configs/simmim/simmim_swinv2_b.py 16 --amp
#          Its checkpoint loads into every detector, segmenter, classifier and video model (load_from=PATH).
# Paper:   no score for pre-training alone. Not reproduced here.
_base_ = [
    "../_base_/models/simmim_swinv2.py",
    "../_base_/datasets/images_192.py",
    "../_base_/schedules/simmim_800e.py",
    "../_base_/simmim_runtime.py",
]
