"""What leaves the building: SavedModel, TFLite, and the runtime on the device."""
