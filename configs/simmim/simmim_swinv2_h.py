# SimMIM pre-training of SwinV2-H on images without labels, 192 x 192 pixels, window 12.
#
# Source:  none of the paper's or the authors': H with the recipe of simmim_swinv2_b.py. Ours.
# Command: IMAGES_ROOT=data/imagenet/train tools/dist_train.sh configs/simmim/simmim_swinv2_h.py 16 --amp
#          Its checkpoint loads into every detector, segmenter, classifier and video model (load_from=PATH).
# Paper:   no score for pre-training alone. Not reproduced here.
_base_ = "./simmim_swinv2_b.py"

# Activations are computed again in the backward pass (section 3.5).
model = dict(backbone=dict(arch="huge", with_cp=True), neck=dict(in_channels=2816))
