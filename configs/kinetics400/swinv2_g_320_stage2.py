# Video SwinV2-G on Kinetics-400, the paper's second stage: 320 x 320 pixels x 8 tokens, window 20 x 20 x 8, 5 epochs.
# Tested on one view: 320 x 320 pixels, window 20 x 20 x 8.
#
# Source:  arXiv 2111.09883, section 4.2 and appendix. AdamW 5e-5, weight decay 0.1, batch 64, cosine, warm-up 1 epoch.
#          What is ours: as in swinv2_g_256_stage1.py.
# Command: K400_ROOT=data/kinetics400/ tools/dist_train.sh configs/kinetics400/swinv2_g_320_stage2.py 32 --amp
#          starts from the first stage's last checkpoint where that config put it; load_from=PATH names another.
# Paper:   top-1 83.2 (1 x 1 view). Not reproduced here.
_base_ = [
    "../_base_/models/swinv2_video.py",
    "../_base_/datasets/kinetics400_320.py",
    "../_base_/schedules/kinetics400_5e.py",
    "../_base_/video_runtime.py",
    "../_base_/strategies/zero1.py",
]

model = dict(
    backbone=dict(arch="giant", window_size=(8, 20, 20), drop_path_rate=0.4, with_cp=True),
    cls_head=dict(in_channels=4096),
)
load_from = "work_dirs/swinv2_g_256_stage1/epoch_20.pth"
# 32 GPUs with 2 clips each are the batch of 64.
train_dataloader = dict(batch_size=2)
val_dataloader = dict(batch_size=2)
test_dataloader = val_dataloader

# Figure 2 of the paper, drawn every 1000 iterations: features that grow from block to block show early.
default_hooks = dict(amplitude=dict(type="swinv2_dense.AmplitudeHook"))
