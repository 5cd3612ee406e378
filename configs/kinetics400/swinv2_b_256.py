# Video SwinV2-B on Kinetics-400: 256 x 256 pixels x 8 tokens, window 16 x 16 x 8. Ours: the paper has G only.
#
# Source:  as swinv2_t_256.py, which says what is the paper's and what is ours; drop path 0.3.
# Command: K400_ROOT=data/kinetics400/ tools/dist_train.sh configs/kinetics400/swinv2_b_256.py 16 --amp \
#              --cfg-options load_from=PATH
#          PATH is a SwinV2-B image classification checkpoint of any publisher; it is inflated on load.
# Paper:   none for B. Not reproduced here.
_base_ = "./swinv2_t_256.py"

model = dict(backbone=dict(arch="base", drop_path_rate=0.3), cls_head=dict(in_channels=1024))
train_dataloader = dict(batch_size=4)  # 16 GPUs
