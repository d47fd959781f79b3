"""Procedural worlds: endless training data with exact geometry.

A seed makes a world (`generate`) and its photographer (`walks`); `renderer` takes the pictures, on the CPU or the GPU from
one source; `bank` keeps many of them in memory; `degrade` makes them look like photographs.
"""
