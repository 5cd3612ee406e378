# The paper's Objects365 recipe for G: AdamW, lr 1.2e-3, weight decay 0.05, batch 96, 67,500 iterations. The rest as in
# adamw_45k.py, which says what is ours.
_base_ = "./adamw_45k.py"

max_iters = 67500

train_cfg = dict(max_iters=max_iters, val_interval=7500)
optim_wrapper = dict(optimizer=dict(lr=1.2e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    # 9/12 and 11/12 of the training
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=max_iters, milestones=[50625, 61875], gamma=0.1),
]
