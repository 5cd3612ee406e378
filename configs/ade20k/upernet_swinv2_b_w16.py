# UperNet with SwinV2-B on ADE20K, the paper's ablation recipe: 512 x 512, window 16.
#
# Source, command, weights, testing: as upernet_swinv2_t.py. The system recipe is in upernet_swinv2_b_w40.py.
# Paper:   no number for B with this recipe in the table. Not reproduced here.
_base_ = "./upernet_swinv2_t.py"

model = dict(
    backbone=dict(arch="base"),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
