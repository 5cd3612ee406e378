# The paper's COCO recipe (appendix, system-level comparison): AdamW, lr 4e-4 with the backbone at a tenth of it, weight
# decay 0.05, batch 64, 3x. Warm-up and the two drops are not given there; these are the ones customary for 3x.
max_epochs = 36

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-4, betas=(0.9, 0.999), weight_decay=0.05),
    # decay_rate=1.0: no layer decay, the paper has it for ADE20K only.
    constructor="swinv2_dense.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(decay_rate=1.0, backbone_lr_mult=0.1),
)
param_scheduler = [
    # 117266 images with objects / 64 = 1832 iterations an epoch: the warm-up is about half of the first.
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    # 27 and 33 of 36 epochs: 9/12 and 11/12 of the training.
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=max_epochs, milestones=[27, 33], gamma=0.1),
]

# With --auto-scale-lr the rate follows the real batch: lr * GPUs * samples per GPU / 64.
auto_scale_lr = dict(enable=False, base_batch_size=64)
