"""Datasets of image files in folders or in a table of paths and labels."""
