# The authors' fine-tuning of SimMIM weights on ImageNet-1K: AdamW, 1.25e-3 for every 512 images of the batch of 2048,
# weight decay 0.05, layer decay 0.75, clipping at 5, 100 epochs, cosine from 2.5e-7 per 512 over 20 epochs of warm-up
# down to the same.
_base_ = "./imagenet_300e.py"

max_epochs, warmup, lr = 100, 20, 5e-3
floor = 1e-6
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=lr), paramwise_cfg=dict(decay_rate=0.75))
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=floor / lr, end=warmup),
    # A ratio, as every layer has a rate of its own.
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=floor / lr,
        by_epoch=True,
        begin=warmup,
        end=max_epochs,
        T_max=max_epochs - warmup,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=2048)
