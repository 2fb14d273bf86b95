"""Neural networks: Keras models built from functions, on any Keras backend."""
