# The paper's SimMIM pre-training of SwinV2-G (appendix): AdamW 1.4e-3, weight decay 0.1, batch 9216, clipping at 100,
# 20 epochs, cosine with 30,000 iterations of warm-up. Of its 70 million images these are 30000 * 9216 / 70e6 =
# 3.95 epochs. Where warm-up starts and the cosine ends is not given there.
_base_ = "./simmim_800e.py"

max_epochs, warmup = 20, 3.95
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1.4e-3, weight_decay=0.1), clip_grad=dict(max_norm=100.0))
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=warmup,
        end=max_epochs,
        T_max=max_epochs - warmup,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=9216)
