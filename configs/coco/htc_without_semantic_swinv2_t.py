# HTC without the semantic branch, SwinV2-T, COCO 2017: for data without stuffthingmaps.
#
# Source:  as configs/coco/htc_swinv2_t.py, which says what is the paper's and what is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/htc_without_semantic_swinv2_t.py 8 --auto-scale-lr
# Paper:   no such row. Not reproduced here.
_base_ = [
    "../_base_/models/htc_without_semantic_swinv2.py",
    "../_base_/datasets/coco_instance_lsj.py",
    "../_base_/schedules/adamw_3x.py",
    "../_base_/detection_runtime.py",
]

# Every training batch is exactly 1536 x 1536; in testing each picture keeps its own size.
model = dict(data_preprocessor=dict(batch_augments=[dict(type="BatchFixedSizePad", size=(1536, 1536), pad_mask=True)]))
