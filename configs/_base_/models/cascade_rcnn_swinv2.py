# Cascade R-CNN (arXiv 1712.00726): Cascade Mask R-CNN without masks. Its parameters have the names they have there.
_base_ = "./cascade_mask_rcnn_swinv2.py"

model = dict(data_preprocessor=dict(pad_mask=False), roi_head=dict(mask_roi_extractor=None, mask_head=None))
