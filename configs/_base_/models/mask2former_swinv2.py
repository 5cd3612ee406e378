# Mask2Former (arXiv 2112.01527) for semantic segmentation on SwinV2-B, for training at 640 x 640 with a window of 40
# tokens. The head is mmdet's; mmseg turns its masks into class maps.
hidden = 256


def attention(**options):
    return dict(embed_dims=hidden, num_heads=8, batch_first=True, **options)


def feed_forward(channels):
    return dict(
        embed_dims=hidden,
        feedforward_channels=channels,
        num_fcs=2,
        ffn_drop=0.0,
        act_cfg=dict(type="ReLU", inplace=True),
    )


model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(640, 640),
    ),
    backbone=dict(type="swinv2_dense.SwinTransformerV2", arch="base", window_size=40, drop_path_rate=0.3),
    decode_head=dict(
        type="Mask2FormerHead",
        in_channels=[128, 256, 512, 1024],
        strides=[4, 8, 16, 32],
        feat_channels=hidden,
        out_channels=hidden,
        num_classes=150,
        num_queries=100,
        num_transformer_feat_level=3,
        align_corners=False,
        enforce_decoder_input_project=False,
        positional_encoding=dict(num_feats=hidden // 2, normalize=True),
        pixel_decoder=dict(
            type="mmdet.MSDeformAttnPixelDecoder",
            num_outs=3,
            norm_cfg=dict(type="GN", num_groups=32),
            act_cfg=dict(type="ReLU"),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=attention(num_levels=3, num_points=4, dropout=0.0),
                    ffn_cfg=feed_forward(1024),
                ),
            ),
            positional_encoding=dict(num_feats=hidden // 2, normalize=True),
        ),
        transformer_decoder=dict(
            num_layers=9,
            return_intermediate=True,
            layer_cfg=dict(
                self_attn_cfg=attention(attn_drop=0.0, proj_drop=0.0),
                cross_attn_cfg=attention(attn_drop=0.0, proj_drop=0.0),
                ffn_cfg=feed_forward(2048),
            ),
        ),
        loss_cls=dict(
            type="mmdet.CrossEntropyLoss",
            use_sigmoid=False,
            loss_weight=2.0,
            reduction="mean",
            class_weight=[1.0] * 150 + [0.1],  # the last one: a query that found nothing
        ),
        loss_mask=dict(type="mmdet.CrossEntropyLoss", use_sigmoid=True, reduction="mean", loss_weight=5.0),
        loss_dice=dict(
            type="mmdet.DiceLoss",
            use_sigmoid=True,
            activate=True,
            reduction="mean",
            naive_dice=True,
            eps=1.0,
            loss_weight=5.0,
        ),
        train_cfg=dict(
            num_points=12544,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
            assigner=dict(
                type="mmdet.HungarianAssigner",
                match_costs=[
                    dict(type="mmdet.ClassificationCost", weight=2.0),
                    dict(type="mmdet.CrossEntropyLossCost", weight=5.0, use_sigmoid=True),
                    dict(type="mmdet.DiceCost", weight=5.0, pred_act=True, eps=1.0),
                ],
            ),
            sampler=dict(type="mmdet.MaskPseudoSampler"),
        ),
    ),
    test_cfg=dict(mode="whole", crop_size=(640, 640), stride=(427, 427)),
)
