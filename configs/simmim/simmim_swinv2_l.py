# SimMIM pre-training of SwinV2-L on images without labels, 192 x 192 pixels, window 12.
#
# Source:  none of the paper's or the authors': L with the recipe of simmim_swinv2_b.py. Ours.
# Command: IMAGES_ROOT=data/imagenet/train tools/dist_train.sh configs/simmim/simmim_swinv2_l.py 16 --amp
#          Its checkpoint loads into every detector, segmenter, classifier and video model (load_from=PATH).
# Paper:   no score for pre-training alone. Not reproduced here.
_base_ = "./simmim_swinv2_b.py"

model = dict(backbone=dict(arch="large"), neck=dict(in_channels=1536))
