# Hybrid Task Cascade (arXiv 1901.07518) with its semantic branch: a small FCN at stride 8 whose features are added to
# every stage's box and mask features.
_base_ = "./htc_without_semantic_swinv2.py"

model = dict(
    data_preprocessor=dict(pad_seg=True),
    roi_head=dict(
        type="swinv2_dense.SemanticHTCRoIHead",  # mmdet's, which refuses weights trained without the branch
        semantic_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=0),
            out_channels=_base_.fpn_channels,
            featmap_strides=[8],
        ),
        semantic_head=dict(
            type="FusedSemanticHead",
            num_ins=5,
            fusion_level=1,  # the stride-8 level of the FPN
            seg_scale_factor=1 / 8,
            num_convs=4,
            in_channels=_base_.fpn_channels,
            conv_out_channels=_base_.fpn_channels,
            num_classes=183,  # labels go to 181; 183 is what published HTC weights have
            # Averaged over the labelled pixels: a jittered picture may fill as little as a hundredth of its canvas.
            loss_seg=dict(type="CrossEntropyLoss", ignore_index=255, avg_non_ignore=True, loss_weight=0.2),
        ),
    ),
)
