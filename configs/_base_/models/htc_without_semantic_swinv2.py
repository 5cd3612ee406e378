# Hybrid Task Cascade (arXiv 1901.07518) without its semantic branch, on SwinV2-T and an FPN.
_base_ = "./normalization.py"

num_classes = 80
fpn_channels = 256


def bbox_head(target_std):
    """One stage of the box cascade. target_std: of (dx, dy) and of (dw, dh), relative to the box."""
    return dict(
        type="Shared2FCBBoxHead",
        in_channels=fpn_channels,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=num_classes,
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[target_std[0], target_std[0], target_std[1], target_std[1]],
        ),
        reg_class_agnostic=True,
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
    )


def mask_head(with_conv_res):
    """One stage of the mask cascade. with_conv_res: it takes in the features of the stage before."""
    return dict(
        type="HTCMaskHead",
        with_conv_res=with_conv_res,
        num_convs=4,
        in_channels=fpn_channels,
        conv_out_channels=fpn_channels,  # equal, because a stage's features are added to the next one's input
        num_classes=num_classes,
        loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
    )


def roi_extractor(output_size, featmap_strides):
    return dict(
        type="SingleRoIExtractor",
        roi_layer=dict(type="RoIAlign", output_size=output_size, sampling_ratio=0),
        out_channels=fpn_channels,
        featmap_strides=featmap_strides,
    )


def rcnn_train_cfg(iou):
    """Training of one stage: a proposal is an object from this overlap on."""
    return dict(
        assigner=dict(type="MaxIoUAssigner", pos_iou_thr=iou, neg_iou_thr=iou, min_pos_iou=iou, ignore_iof_thr=-1),
        sampler=dict(type="RandomSampler", num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
        mask_size=28,
        pos_weight=-1,
        debug=False,
    )


model = dict(
    type="HybridTaskCascade",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        **_base_.imagenet_normalization,
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type="swinv2_dense.SwinTransformerV2", arch="tiny", window_size=32, drop_path_rate=0.2),
    neck=dict(type="FPN", in_channels=[96, 192, 384, 768], out_channels=fpn_channels, num_outs=5),
    rpn_head=dict(
        type="RPNHead",
        in_channels=fpn_channels,
        feat_channels=fpn_channels,
        anchor_generator=dict(type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0 / 9.0, loss_weight=1.0),
    ),
    roi_head=dict(
        type="HybridTaskCascadeRoIHead",
        interleaved=True,
        mask_info_flow=True,
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_roi_extractor=roi_extractor(7, [4, 8, 16, 32]),
        bbox_head=[bbox_head((0.1, 0.2)), bbox_head((0.05, 0.1)), bbox_head((0.033, 0.067))],
        mask_roi_extractor=roi_extractor(14, [4, 8, 16, 32]),
        mask_head=[mask_head(False), mask_head(True), mask_head(True)],
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=-1),
            sampler=dict(type="RandomSampler", num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            # Anchors may cross the border: jitter makes pictures that no anchor fits into, 14 pixels high and less.
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(nms_pre=2000, max_per_img=2000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
        rcnn=[rcnn_train_cfg(0.5), rcnn_train_cfg(0.6), rcnn_train_cfg(0.7)],
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            score_thr=0.001,
            nms=dict(type="soft_nms", iou_threshold=0.5),
            max_per_img=100,
            mask_thr_binary=0.5,
        ),
    ),
)
