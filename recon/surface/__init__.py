"""From a radiance field to a textured mesh: depth, fusion, cleaning, unwrapping, baking."""
