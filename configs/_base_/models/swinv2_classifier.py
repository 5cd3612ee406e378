# Classifier with SwinV2: the mean of the last map and a linear head.
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(num_classes=1000, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type="swinv2_dense.SwinTransformerV2", arch="tiny", window_size=8, out_indices=(3,), drop_path_rate=0.2
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=768,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02, bias=0.0),
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
    # One of the two for every batch, as the authors' timm chooses them (probability 1, half and half).
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
