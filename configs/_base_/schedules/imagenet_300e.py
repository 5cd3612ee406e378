# The authors' training from scratch on ImageNet-1K: AdamW, 5e-4 for every 512 images of the batch of 1024, weight decay
# 0.05, clipping at 5, 300 epochs, cosine from 1/1000 over 20 epochs of warm-up to 1/100 of the rate.
max_epochs, warmup, lr = 300, 20, 1e-3

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    # No layer decay; it keeps norms, biases, logit_scale and the position network out of weight decay.
    constructor="swinv2_dense.LayerDecayOptimWrapperConstructor",
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        eta_min=lr / 100,
        by_epoch=True,
        begin=warmup,
        end=max_epochs,
        T_max=max_epochs - warmup,
        convert_to_iter_based=True,
    ),
]

# With --auto-scale-lr the rate follows the real batch: lr * GPUs * images per GPU / 1024.
auto_scale_lr = dict(enable=False, base_batch_size=1024)
