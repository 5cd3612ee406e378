# Video SwinV2-S on Kinetics-400: 256 x 256 pixels x 8 tokens, window 16 x 16 x 8. Ours: the paper has G only.
#
# Source:  as swinv2_t_256.py, which says what is the paper's and what is ours; drop path 0.2.
# Command: K400_ROOT=data/kinetics400/ tools/dist_train.sh configs/kinetics400/swinv2_s_256.py 8 --amp \
#              --cfg-options load_from=PATH
#          PATH is a SwinV2-S image classification checkpoint of any publisher; it is inflated on load.
# Paper:   none for S. Not reproduced here.
_base_ = "./swinv2_t_256.py"

model = dict(backbone=dict(arch="small", drop_path_rate=0.2), cls_head=dict(in_channels=768))
