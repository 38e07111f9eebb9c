"""The compact convolutional transformer."""
