# The paper's COCO recipe for G: AdamW, lr 6e-4, weight decay 0.05, batch 96, 45,000 iterations. The backbone's factor
# of 0.1 is named for B and L only. Here it is ours: without it the backbone would learn ten times as fast as in any of
# the paper's other fine-tunings of G (4e-5 on ADE20K, 5e-5 on Kinetics). Warm-up and drops are ours too.
max_iters = 45000

train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=2500)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=6e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="swinv2_dense.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(decay_rate=1.0, backbone_lr_mult=0.1),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    # 9/12 and 11/12 of the training, as in 3x
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=max_iters, milestones=[33750, 41250], gamma=0.1),
]

# With --auto-scale-lr the rate follows the real batch: lr * GPUs * samples per GPU / 96.
auto_scale_lr = dict(enable=False, base_batch_size=96)
