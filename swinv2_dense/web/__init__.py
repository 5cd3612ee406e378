"""A page in the browser that shows what a trained model finds: ``swinv2 serve``."""
