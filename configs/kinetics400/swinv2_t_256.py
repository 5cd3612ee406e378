# Video SwinV2-T on Kinetics-400: 256 x 256 pixels x 8 tokens, window 16 x 16 x 8. Ours: the paper has G only.
#
# Source:  the schedule of the paper's first stage for G (arXiv 2111.09883, appendix), scaled to a batch of 64; drop
#          path and augmentation as in mmaction2's configs of Video Swin V1.
# Command: K400_ROOT=data/kinetics400/ tools/dist_train.sh configs/kinetics400/swinv2_t_256.py 8 --amp \
#              --cfg-options load_from=PATH
#          PATH is a SwinV2-T image classification checkpoint of any publisher; it is inflated on load.
# Paper:   none for T. For scale: G, 320 x 320 pixels, one view: top-1 83.2. Not reproduced here.
_base_ = [
    "../_base_/models/swinv2_video.py",
    "../_base_/datasets/kinetics400_256.py",
    "../_base_/schedules/kinetics400_20e.py",
    "../_base_/video_runtime.py",
]

# 8 GPUs with 8 clips each instead of the paper's 80: 3.6e-4 * 64 / 80 = 2.88e-4.
optim_wrapper = dict(optimizer=dict(lr=2.88e-4))
auto_scale_lr = dict(base_batch_size=64)
