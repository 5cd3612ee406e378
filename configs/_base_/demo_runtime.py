# What the demos share: loaders, loops by iteration, and the optimizer. A demo sets its data, length and learning rate.
train_dataloader = dict(num_workers=1, persistent_workers=True, sampler=dict(type="InfiniteSampler"))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True, sampler=dict(type="DefaultSampler", shuffle=False)
)
test_dataloader = val_dataloader
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", weight_decay=0.05),
    constructor="swinv2_dense.LayerDecayOptimWrapperConstructor",
    clip_grad=dict(max_norm=5.0),
)
randomness = dict(seed=0)
