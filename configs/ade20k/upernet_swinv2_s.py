# UperNet with SwinV2-S on ADE20K, the paper's ablation recipe.
#
# Source, command, weights, testing: as upernet_swinv2_t.py.
# Paper:   no number for S with this recipe in the table. Not reproduced here.
_base_ = "./upernet_swinv2_t.py"

model = dict(backbone=dict(arch="small"))
