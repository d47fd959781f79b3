"""Text-guided and classical editing of scenes: photos are edited so that they agree in 3D, and the scene follows, since its colours are theirs."""
