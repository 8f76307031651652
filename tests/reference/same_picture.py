"""Whether two pictures are the same but for rounding: same_picture.py A B [LEVELS]: every channel at most LEVELS (2) apart."""

import sys

import numpy as np
from PIL import Image

a, b = (np.asarray(Image.open(path).convert("RGB"), np.int16) for path in sys.argv[1:3])
if a.shape != b.shape:
    sys.exit(f"sizes {a.shape} and {b.shape}")
levels = int(sys.argv[3]) if len(sys.argv) > 3 else 2
difference = int(np.abs(a - b).max())
if difference > levels or not a.std() > 0:
    sys.exit(f"up to {difference} levels apart, at most {levels}")
