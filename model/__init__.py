"""COMPASS: a learned, spatially scalable image codec (Park et al., ICCV 2023).

Importing this package, :mod:`model.container`, :mod:`model.errors` or :mod:`model.ladder`
does not import torch; :mod:`model.codec` does.
"""
