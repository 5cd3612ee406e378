# The weights of htc_swinv2_g.py, tested at several scales, mirrored too, with a window of 48 tokens.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO: multi-scale test, window 48. The scales are ours.
# Command: COCO_ROOT=data/coco/ tools/dist_test.sh configs/coco/htc_swinv2_g_test_ms_w48.py \
#              work_dirs/htc_swinv2_g/iter_45000.pth 8 --tta
# Paper:   box AP 62.5, mask AP 53.7 on val2017 (mini-val); 63.1, 54.4 on test-dev; reported in the paper. Not
#          reproduced here.
_base_ = ["./htc_swinv2_g_test_w48.py", "../_base_/datasets/coco_tta.py"]
