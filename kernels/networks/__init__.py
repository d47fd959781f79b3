"""The two small networks of a radiance field, fused into one kernel each way."""
