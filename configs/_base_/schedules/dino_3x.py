# DINO's published recipe with Swin (arXiv 2203.03605, mmdet's 36 epochs): AdamW, lr 1e-4 with the backbone at a tenth
# of it, weight decay 1e-4, gradients clipped at 0.1, batch 16, drops after 27 and 33 epochs, no warm-up.
_base_ = "./adamw_3x_batch16.py"

optim_wrapper = dict(
    optimizer=dict(weight_decay=1e-4), paramwise_cfg=dict(backbone_lr_mult=0.1), clip_grad=dict(max_norm=0.1)
)
param_scheduler = [dict(_base_.param_scheduler[1])]
