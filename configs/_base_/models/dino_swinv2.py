# DINO (arXiv 2203.03605) with five feature levels on SwinV2-T: strides 4 to 32 of the backbone and 64 of the neck.
_base_ = "./normalization.py"

hidden = 256
levels = 5


def attention(**options):
    return dict(embed_dims=hidden, dropout=0.0, **options)


feed_forward = dict(embed_dims=hidden, feedforward_channels=2048, ffn_drop=0.0)

model = dict(
    type="DINO",
    num_queries=900,
    num_feature_levels=levels,
    with_box_refine=True,
    as_two_stage=True,
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        **_base_.imagenet_normalization,
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
    backbone=dict(type="swinv2_dense.SwinTransformerV2", arch="tiny", window_size=16, drop_path_rate=0.2),
    neck=dict(
        type="ChannelMapper",
        in_channels=[96, 192, 384, 768],
        kernel_size=1,
        out_channels=hidden,
        act_cfg=None,
        norm_cfg=dict(type="GN", num_groups=32),
        num_outs=levels,
    ),
    encoder=dict(
        num_layers=6,
        layer_cfg=dict(self_attn_cfg=attention(num_levels=levels), ffn_cfg=feed_forward),
    ),
    decoder=dict(
        num_layers=6,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=attention(num_heads=8),
            cross_attn_cfg=attention(num_levels=levels),
            ffn_cfg=feed_forward,
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=hidden // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type="DINOHead",
        num_classes=80,
        sync_cls_avg_factor=True,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=5.0),
        loss_iou=dict(type="GIoULoss", loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100),
    ),
    train_cfg=dict(
        assigner=dict(
            type="HungarianAssigner",
            match_costs=[
                dict(type="FocalLossCost", weight=2.0),
                dict(type="BBoxL1Cost", weight=5.0, box_format="xywh"),
                dict(type="IoUCost", iou_mode="giou", weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=300),
)
