"""The build of the open face model, its head and its people from CC0 sources."""
