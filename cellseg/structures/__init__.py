"""Masks as label maps and run lengths, never as full-size bitmaps."""
