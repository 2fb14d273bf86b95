"""The differentiable renderer, and pictures made with it; `keras.ops` on any backend."""
