"""The colours of lines."""

import matplotlib
import numpy as np

# Okabe and Ito's colours, distinct for any colour vision (jfly.uni-koeln.de/color), without yellow,
# which is too pale for a line on white.
_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


def line_colors(count):
    """Return `count` colours, distinct for any colour vision if there are at most seven."""
    if count <= len(_OKABE_ITO):
        return _OKABE_ITO[:count]
    return matplotlib.colormaps["viridis"](np.linspace(0, 0.95, count))
