# The authors' training on ImageNet-22K: AdamW, 1.25e-4 for every 512 images of the batch of 4096, weight decay 0.1,
# clipping at 5, 90 epochs, cosine from 1/1000 over 5 epochs of warm-up to 1/100 of the rate.
_base_ = "./imagenet_300e.py"

max_epochs, warmup, lr = 90, 5, 1e-3
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.1))
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup),
    dict(_base_.param_scheduler[1], eta_min=lr / 100, begin=warmup, end=max_epochs, T_max=max_epochs - warmup),
]
auto_scale_lr = dict(base_batch_size=4096)
