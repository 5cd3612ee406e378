# SimMIM with SwinV2: masked patches become one learnt token, a linear layer reconstructs their pixels.
model = dict(
    type="SimMIM",
    data_preprocessor=dict(
        type="SelfSupDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(
        type="swinv2_dense.SimMIMSwinTransformerV2", arch="base", window_size=12, out_indices=(3,), drop_path_rate=0.1
    ),
    neck=dict(type="SimMIMLinearDecoder", in_channels=1024, encoder_stride=32),
    # Targets are normalised over neighbourhoods of 47 x 47 pixels.
    head=dict(type="swinv2_dense.SimMIMHead", patch_size=4, norm_target=47),
)
