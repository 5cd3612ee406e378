# Recognizer with a video SwinV2 and the linear head over averaged features of Video Swin V1.
_base_ = "./normalization.py"

model = dict(
    type="Recognizer3D",
    data_preprocessor=dict(
        type="ActionDataPreprocessor",
        **_base_.imagenet_normalization,
        format_shape="NCTHW",
    ),
    backbone=dict(
        type="swinv2_dense.VideoSwinTransformerV2",
        arch="tiny",
        # A token is 2 frames of 4 x 4 pixels, so 16 frames of 256 x 256 pixels are 8 x 64 x 64 tokens.
        patch_size=(2, 4, 4),
        window_size=(8, 16, 16),
        out_indices=3,
        drop_path_rate=0.1,
    ),
    cls_head=dict(
        type="I3DHead",
        in_channels=768,
        num_classes=400,
        dropout_ratio=0.5,
        average_clips="prob",  # of the views of a clip, where there are several
    ),
)
