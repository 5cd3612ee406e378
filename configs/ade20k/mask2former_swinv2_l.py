# Mask2Former with SwinV2-L on ADE20K. Beyond the paper, which has UperNet only.
#
# Source, command, weights: as mask2former_swinv2_b.py, with a SwinV2-L.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = "./mask2former_swinv2_b.py"

model = dict(backbone=dict(arch="large"), decode_head=dict(in_channels=[192, 384, 768, 1536]))
