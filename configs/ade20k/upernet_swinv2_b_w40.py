# UperNet with SwinV2-B on ADE20K, the paper's system recipe: 640 x 640, window 40.
#
# Source, command, weights, testing: as upernet_swinv2_l.py. The ablation recipe is in upernet_swinv2_b_w16.py.
# Paper:   no number for B in the table. Not reproduced here.
_base_ = "./upernet_swinv2_l.py"

model = dict(
    backbone=dict(arch="base"),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
