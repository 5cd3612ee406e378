# The authors' fine-tuning of ImageNet-22K models on ImageNet-1K: AdamW, 2e-5 for every 512 images of the batch of 1024,
# weight decay 1e-8, clipping at 5, 30 epochs, cosine from 1/1000 over 5 epochs of warm-up to 1/100 of the rate.
_base_ = "./imagenet_300e.py"

max_epochs, warmup, lr = 30, 5, 4e-5
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=1e-8))
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup),
    dict(_base_.param_scheduler[1], eta_min=lr / 100, begin=warmup, end=max_epochs, T_max=max_epochs - warmup),
]
