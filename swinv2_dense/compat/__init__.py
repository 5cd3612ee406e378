"""The few lines that make a broken upstream release importable, each with its reason and the release that ends it."""
