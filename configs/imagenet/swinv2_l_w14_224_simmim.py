# SwinV2-L pre-trained by SimMIM, fine-tuned on ImageNet-1K, 224 x 224 pixels, window 14.
#
# Source:  authors' configs/simmim/simmim_finetune__swinv2_base__img224_window14__800ep.yaml: layer decay 0.75,
#          drop path 0.1, 100 epochs. For L the authors published no such config: B's, with drop path 0.2.
# Command: IMAGENET_ROOT=data/imagenet/ tools/dist_train.sh configs/imagenet/swinv2_l_w14_224_simmim.py 32 --amp
# Weights: those of configs/simmim/simmim_swinv2_l.py. Released ones: --cfg-options load_from=PATH.
# Paper:   none; the authors' model hub reports top-1 85.91 for their release. Not reproduced here.
_base_ = "./swinv2_b_w14_224_simmim.py"

model = dict(backbone=dict(arch="large", drop_path_rate=0.2), head=dict(in_channels=1536))
load_from = "work_dirs/simmim_swinv2_l/epoch_800.pth"
