# Video SwinV2-G on Kinetics-400, the paper's first stage: 256 x 256 pixels x 8 tokens, window 16 x 16 x 8, 20 epochs.
#
# Source:  arXiv 2111.09883, section 4.2 and appendix. AdamW 3.6e-4, weight decay 0.1, batch 80, cosine, warm-up 2.5
#          epochs. Silent there, so ours: drop path 0.4, Video Swin V1's dropout and augmentation, frames per
#          token and frame stride (_base_/datasets/kinetics400_256.py).
# Command: K400_ROOT=data/kinetics400/ tools/dist_train.sh configs/kinetics400/swinv2_g_256_stage1.py 40 --amp \
#              --cfg-options load_from=PATH
#          PATH is an image classification checkpoint of SwinV2-G (none was ever released); it is inflated on load.
# Paper:   none for this stage. Not reproduced here.
_base_ = [
    "../_base_/models/swinv2_video.py",
    "../_base_/datasets/kinetics400_256.py",
    "../_base_/schedules/kinetics400_20e.py",
    "../_base_/video_runtime.py",
    "../_base_/strategies/zero1.py",
]

model = dict(
    # 3 billion parameters: activations are computed again in the backward pass (section 3.5).
    backbone=dict(arch="giant", drop_path_rate=0.4, with_cp=True),
    cls_head=dict(in_channels=4096),
)
# 40 GPUs with 2 clips each are the batch of 80.
train_dataloader = dict(batch_size=2)
val_dataloader = dict(batch_size=2)
test_dataloader = val_dataloader

# Figure 2 of the paper, drawn every 1000 iterations: features that grow from block to block show early.
default_hooks = dict(amplitude=dict(type="swinv2_dense.AmplitudeHook"))
