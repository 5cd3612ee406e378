# HTC with SwinV2-T on COCO 2017, the paper's HTC++ recipe.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO and its appendix. Train 1536 x 1536, window 32; AdamW 4e-4,
#          weight decay 0.05, backbone lr x0.1, batch 64, 3x; InstaBoost, jitter [0.1, 2.0], soft-NMS; test at 1100,
#          window 32. The paper does this with B and L. T, and its drop path of 0.2, are ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/htc_swinv2_t.py 8 --auto-scale-lr
# Weights: starts from scratch as it stands, so that nothing needs to be downloaded. The paper fine-tunes: add
#          --cfg-options load_from=PATH, PATH being a SwinV2-T classification checkpoint of any publisher.
# Paper:   none for T. For scale: HTC++ L, 1100 px, window 32: box AP 58.8, mask AP 51.1. Not reproduced here.
_base_ = [
    "../_base_/models/htc_swinv2.py",
    "../_base_/datasets/coco_instance_lsj_semantic.py",
    "../_base_/schedules/adamw_3x.py",
    "../_base_/detection_runtime.py",
]

# Every training batch is exactly 1536 x 1536; in testing each picture keeps its own size.
model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchFixedSizePad", size=(1536, 1536), pad_mask=True, pad_seg=True)]
    )
)
