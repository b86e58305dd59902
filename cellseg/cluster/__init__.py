"""Predict a cohort on many machines with Dask; nothing here is imported without being asked for."""
