# The paper's second stage on Kinetics-400 (appendix): AdamW, lr 5e-5, weight decay 0.1, batch 64, 5 epochs, cosine with
# one epoch of warm-up.
_base_ = "./kinetics400_20e.py"

warmup = 1
max_epochs = 5

train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=5e-5))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=warmup,
        end=max_epochs,
        T_max=max_epochs - warmup,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=64)
