# Faster R-CNN (arXiv 1506.01497) with an FPN: Mask R-CNN without masks. Its parameters have the names they have there.
_base_ = "./mask_rcnn_swinv2.py"

model = dict(
    type="FasterRCNN",
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)
