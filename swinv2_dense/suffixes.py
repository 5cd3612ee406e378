"""Which files are taken for images and for clips: by how their names end. What they are is found in their content."""

__all__ = ["CLIPS", "IMAGES"]

IMAGES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif"),
    *(".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
)
CLIPS = (
    *(".mp4", ".m4v", ".mkv", ".webm", ".avi", ".mov", ".mpg", ".mpeg", ".wmv", ".flv"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".ogv", ".vob"),
)
