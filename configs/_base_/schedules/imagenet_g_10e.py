# The paper's fine-tuning of SwinV2-G on ImageNet-1K (appendix): AdamW 2.1e-5, weight decay 0.1, batch 576, clipping at
# 100, 10 epochs, cosine with 2 epochs of warm-up. Where warm-up starts and the cosine ends is not given there: as at
# the smaller models.
_base_ = "./imagenet_300e.py"

max_epochs, warmup, lr = 10, 2, 2.1e-5
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.1), clip_grad=dict(max_norm=100.0))
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup),
    dict(_base_.param_scheduler[1], eta_min=lr / 100, begin=warmup, end=max_epochs, T_max=max_epochs - warmup),
]
auto_scale_lr = dict(base_batch_size=576)
