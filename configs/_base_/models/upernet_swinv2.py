# UperNet (arXiv 1807.10221) on SwinV2-T with an FCN as auxiliary head, for training at 512 x 512.
_base_ = "./normalization.py"

norm_cfg = dict(type="BN", requires_grad=True)

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        **_base_.imagenet_normalization,
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),  # of training batches; in testing each picture keeps its own
    ),
    backbone=dict(type="swinv2_dense.SwinTransformerV2", arch="tiny", window_size=16, drop_path_rate=0.3),
    decode_head=dict(
        type="UPerHead",
        in_channels=[96, 192, 384, 768],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=384,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=0.4),
    ),
    # Whole pictures. --cfg-options model.test_cfg.mode=slide tests by tiles that overlap by a third instead.
    test_cfg=dict(mode="whole", crop_size=(512, 512), stride=(341, 341)),
)
