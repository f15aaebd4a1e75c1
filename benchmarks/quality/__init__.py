"""Bytes and PSNR: rate-distortion, layers, ablations, training recipes."""
