# The authors' SimMIM pre-training: AdamW, 1e-4 for every 512 images of the batch of 2048, weight decay 0.05, clipping
# at 5, 800 epochs, a tenth of the rate from epoch 700 on, 10 epochs of warm-up from 1/200 of the rate.
max_epochs, warmup = 800, 10

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs)

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    # No layer decay; it keeps the mask token, norms, biases and the position network out of weight decay.
    constructor="swinv2_dense.LayerDecayOptimWrapperConstructor",
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1 / 200, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type="MultiStepLR", milestones=[700], gamma=0.1, by_epoch=True, begin=0, end=max_epochs),
]

# With --auto-scale-lr the rate follows the real batch: lr * GPUs * images per GPU / 2048.
auto_scale_lr = dict(enable=False, base_batch_size=2048)
