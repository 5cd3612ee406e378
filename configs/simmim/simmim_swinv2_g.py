# SimMIM pre-training of SwinV2-G on images without labels, 192 x 192 pixels, window 12.
#
# Source:  arXiv 2111.09883, section 4.2 and appendix. Drop path and the decoder are B's.
# Command: IMAGES_ROOT=data/imagenet/train tools/dist_train.sh configs/simmim/simmim_swinv2_g.py 144 --amp
#          Its checkpoint loads into every detector, segmenter, classifier and video model (load_from=PATH).
# Paper:   no score for pre-training alone. Not reproduced here.
_base_ = [
    "../_base_/models/simmim_swinv2.py",
    "../_base_/datasets/images_192.py",
    "../_base_/schedules/simmim_g_20e.py",
    "../_base_/simmim_runtime.py",
    "../_base_/strategies/zero1.py",
]

# 3 billion parameters: activations are computed again in the backward pass (section 3.5).
model = dict(backbone=dict(arch="giant", with_cp=True), neck=dict(in_channels=4096))
# 144 GPUs with 64 images each are the batch of 9216.
train_dataloader = dict(batch_size=64)
