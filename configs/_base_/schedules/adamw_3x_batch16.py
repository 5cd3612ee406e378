# The paper's COCO ablation: AdamW, lr 1e-4, weight decay 0.05, batch 16, 3x. It names no factor for the backbone.
_base_ = "./adamw_3x.py"

optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(backbone_lr_mult=1.0))
auto_scale_lr = dict(base_batch_size=16)
