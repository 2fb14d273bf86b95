"""Photos rendered anew: their own skin on other faces, and what is around them."""
