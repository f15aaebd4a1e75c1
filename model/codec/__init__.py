"""Pictures to streams and back: the network and the stream work on each other here.

One layer of h x w pixels, from pixels to bytes (above) and back (below). N, M: ``Config.channels`` and
``latents``; every h/n is rounded up; p is the prediction, which the base layer lacks::

    layer below, 8-bit (h', w', 3) --LIFF--> p (3, h, w)
                                             |
    picture, 8-bit (h, w, 3) --/255--> x --(-)--> residual (3, h, w)
                                                     |  analysis (sees p, too)
                                                  y (M, h/16, w/16)
                                                     |  * gain[quality]
                                                  y --------hyper-analysis--------> z (N, h/64, w/64)
                                                     |                                |  round
                                                     |  <--index, mean--  hyper-      |  integers
                                                     |     (M, h/16, w/16) synthesis--+
                                                     |     of integers                |
                                                  round(y - mean)                     |
                                                     |  rANS, table = index           |  rANS, table = channel
                                              tiles of 256 x 256 pixels        hyper-latents
    stream = header | layer 0: index | hyper-latents | tile | tile ... | layer 1: ...

    stream --header, index--> bytes of hyper-latents --rANS--> z (N, h/64, w/64), integers
                                                     |  hyper-synthesis of integers
                                                  index, mean (M, h/16, w/16)
                              bytes of tiles --rANS, table = index--> symbols (M, h/16, w/16), integers
                                                     |  + mean: exact up to here, on every machine
                                                  y (M, h/16, w/16)
                                                     |  * inverse gain[quality]
                                                     |  synthesis (sees p, too)
    layer below --LIFF--> p (3, h, w) -------(+)-- residual (3, h, w)
                                              |  clamp to 0 ... 1, * 255, round
                                           picture, 8-bit (h, w, 3): what the next layer is predicted from

A stream may also be a graphic, one picture file in place of all that (:mod:`model.codec.graphics`).

A region of a layer needs the hyper-latents and the tiles below it alone, and of every step the part that
:mod:`model.geometry` works out.
"""
