# The paper's ADE20K system comparison, B and L: AdamW, lr 6e-5, weight decay 0.05, batch 64, 40,000 iterations, linear
# decay after a warm-up of 375. It names no layer decay here.
_base_ = "./ade20k_160k.py"

max_iters = 40000
warmup = 375

train_cfg = dict(max_iters=max_iters, val_interval=4000)
optim_wrapper = dict(optimizer=dict(lr=6e-5), paramwise_cfg=dict(decay_rate=1.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=warmup),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=warmup, end=max_iters),
]
auto_scale_lr = dict(base_batch_size=64)
