# The weights of htc_swinv2_l.py, tested at several scales, mirrored too, with a window of 48 tokens.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO: multi-scale test, window 48. The scales are ours.
# Command: COCO_ROOT=data/coco/ tools/dist_test.sh configs/coco/htc_swinv2_l_test_ms_w48.py \
#              work_dirs/htc_swinv2_l/epoch_36.pth 8 --tta
# Paper:   box AP 60.2, mask AP 52.1 on val2017 (mini-val); 60.8, 52.7 on test-dev; reported in the paper. Not
#          reproduced here.
_base_ = ["./htc_swinv2_l_test_w48.py", "../_base_/datasets/coco_tta.py"]
