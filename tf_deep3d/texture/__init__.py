"""A texture from one photo or many, completed where no photo shows the skin."""
