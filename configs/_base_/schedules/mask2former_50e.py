# Mask2Former's published recipe for instances with Swin (arXiv 2112.01527): AdamW, lr 1e-4 with the backbone at a tenth
# of it, weight decay 0.05, gradients clipped at 0.01, batch 16, 50 epochs of 118,000 pictures: 368,750 iterations.
_base_ = "./adamw_45k.py"

max_iters = 368750

train_cfg = dict(max_iters=max_iters, val_interval=7375)  # once an epoch
optim_wrapper = dict(optimizer=dict(lr=1e-4), clip_grad=dict(max_norm=0.01))
param_scheduler = [
    # 8/9 and 26/27 of the training
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=max_iters, milestones=[327778, 355092], gamma=0.1)
]
auto_scale_lr = dict(base_batch_size=16)
