# PLACEHOLDER by CORE so that the backbone imports: CHECKPOINT replaces this file.
def adapt_state_dict(backbone, state_dict, prefix, **_):
    windows = [state_dict.get(f"{prefix}layers.{s}.pretrained_window_size") for s in range(len(backbone.depths))]
    if all(w is not None for w in windows):
        backbone.set_pretrained_window_size([tuple(w.tolist()) for w in windows])


def load_pretrained(*a, **k):
    raise NotImplementedError
