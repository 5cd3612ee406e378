# The paper's ADE20K ablation: AdamW, lr 4e-5, weight decay 0.05, layer decay 0.95, batch 16, 160,000 iterations, linear
# decay after a warm-up of 1,500.
max_iters = 160000
warmup = 1500

train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=16000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-5, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="swinv2_dense.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(decay_rate=0.95),
)
param_scheduler = [
    # The paper does not say where the warm-up starts.
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=warmup),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=warmup, end=max_iters),
]

# With --auto-scale-lr the rate follows the real batch: lr * GPUs * samples per GPU / 16.
auto_scale_lr = dict(enable=False, base_batch_size=16)
