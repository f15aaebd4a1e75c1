"""COMPASS: a learned, spatially scalable image codec (Park et al., ICCV 2023).

Importing this package, :mod:`model.stream.container`, :mod:`model.errors` or :mod:`model.stream.ladder`
does not import torch; :mod:`model.codec.codec` does.
"""
