# Video SwinV2-L on Kinetics-400: 256 x 256 pixels x 8 tokens, window 16 x 16 x 8. Ours: the paper has G only.
#
# Source:  as swinv2_t_256.py, which says what is the paper's and what is ours; drop path 0.4.
# Command: K400_ROOT=data/kinetics400/ tools/dist_train.sh configs/kinetics400/swinv2_l_256.py 16 --amp \
#              --cfg-options load_from=PATH
#          PATH is a SwinV2-L image classification checkpoint of any publisher; it is inflated on load.
# Paper:   none for L. Not reproduced here.
_base_ = "./swinv2_t_256.py"

model = dict(backbone=dict(arch="large", drop_path_rate=0.4), cls_head=dict(in_channels=1536))
train_dataloader = dict(batch_size=4)  # 16 GPUs
