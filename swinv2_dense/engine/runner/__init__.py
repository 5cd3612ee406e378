"""mmengine's runners, made to resume after a kill, and what starts them from a config."""
