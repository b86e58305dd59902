"""Describe data, anchors and trainings: figures, tables and plots."""
