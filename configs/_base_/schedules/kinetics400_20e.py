# The paper's first stage on Kinetics-400 (appendix): AdamW, lr 3.6e-4, weight decay 0.1, batch 80, 20 epochs, cosine
# with 2.5 epochs of warm-up. Where warm-up starts, where the cosine ends and gradient clipping are not given there.
warmup = 2.5
max_epochs = 20

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=3.6e-4, betas=(0.9, 0.999), weight_decay=0.1),
    # No layer decay; it keeps norms, biases and the position network out of weight decay.
    constructor="swinv2_dense.LayerDecayOptimWrapperConstructor",
)
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

# With --auto-scale-lr the rate follows the real batch: lr * GPUs * samples per GPU / 80.
auto_scale_lr = dict(enable=False, base_batch_size=80)
