"""Makes the images of preprocess.py in a folder: photographs from scikit-learn and small ones, in every form that Pillow reads
and users have, and damaged ones. Returns their paths.

    images = make_images(folder)
    damaged = make_damaged(folder, images)"""

import pathlib
import struct
import zlib

import numpy as np
import sklearn.datasets
from PIL import Image

ORIENTATION = 0x0112
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>'
)
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed_row(samples, depth):
    """One row of samples as PNG stores it, behind the filter byte 0."""
    if depth == 16:
        return b"\0" + samples.astype(">u2").tobytes()
    if depth == 8:
        return b"\0" + samples.astype(np.uint8).tobytes()
    bits = (samples.astype(np.uint8)[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return b"\0" + np.packbits(bits.reshape(-1)).tobytes()


def png(samples, depth, colour, before=b"", after=b"", interlaced=False):
    """A PNG file of samples (height, width, channels), with chunks before and after its data."""
    height, width, _ = samples.shape
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    rows = b""
    for x, y, step_x, step_y in passes:
        part = samples[y::step_y, x::step_x]
        if part.size:
            rows += b"".join(packed_row(row.reshape(-1), depth) for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    chunks = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff(orientation, order="<", kind=3, count=1):
    """A TIFF block with a single tag."""
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *([orientation, 0] if kind == 3 else [orientation]))
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHI", 8, 1, ORIENTATION, kind, count) + value + struct.pack(order + "I", 0)


def jpegs(save, photo, second):
    save("china.jpg", photo, quality=95)
    save("flower.jpg", second, quality=75)
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        save(f"{name}.jpg", photo.crop((3, 5, 404, 302)), quality=85, subsampling=subsampling)
        save(f"{name}_odd.jpg", second.crop((0, 0, 37, 51)), quality=60, subsampling=subsampling)
    save("progressive.jpg", photo, progressive=True, quality=80)
    save("progressive_444.jpg", second.crop((0, 0, 333, 221)), progressive=True, subsampling=0, optimize=True)
    save("restart.jpg", second.crop((0, 0, 300, 200)), restart_marker_blocks=5)
    save("rgb.jpg", second.crop((0, 0, 123, 77)), keep_rgb=True)
    save("grey.jpg", photo.convert("L"))
    save("grey_progressive.jpg", second.convert("L"), progressive=True)
    save("coarse.jpg", photo, quality=3)
    save("cmyk.jpg", second.convert("CMYK"), quality=90)
    save("cmyk_progressive.jpg", photo.crop((0, 0, 99, 98)).convert("CMYK"), progressive=True)
    save("one_pixel.jpg", Image.new("RGB", (1, 1), (200, 30, 90)))


def orientations(save, write, photo):
    small = photo.crop((100, 60, 231, 147))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        save(f"exif{orientation}.jpg", small, exif=exif, quality=90)
        save(f"xmp{orientation}.jpg", small, xmp=XMP.format(orientation).encode())
        if orientation in (3, 5, 6, 8):
            save(f"exif{orientation}.png", small, exif=exif)
            save(f"exif{orientation}.webp", small, exif=exif, quality=80)
            save(f"xmp{orientation}.webp", small, xmp=XMP.format(orientation).encode(), lossless=True)
            save(f"exif{orientation}_grey.png", small.convert("L"), exif=exif)
            save(f"exif{orientation}_alpha.png", small.convert("RGBA"), exif=exif)
    save("exif9.jpg", small, exif=b"Exif\0\0" + tiff(9))
    save("exif_big_endian.jpg", small, exif=b"Exif\0\0" + tiff(6, ">"))
    save("exif_long.jpg", small, exif=b"Exif\0\0" + tiff(8, "<", kind=4))
    save("exif_over_xmp.jpg", small, exif=b"Exif\0\0" + tiff(1), xmp=XMP.format(6).encode())
    pixels = np.asarray(small)
    raw = tiff(6).hex().encode()
    itxt = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.format(8).encode())
    profile = b"Raw profile type exif\0" + b"\nexif\n%8d\n" % (len(raw) // 2) + raw + b"\n"
    packed = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % (len(raw) // 2) + raw + b"\n")
    write("exif_late.png", png(pixels, 8, 2, after=chunk(b"eXIf", tiff(6))))
    write("xmp.png", png(pixels, 8, 2, before=itxt))
    write("xmp_late.png", png(pixels, 8, 2, after=itxt))
    write("profile.png", png(pixels, 8, 2, before=chunk(b"tEXt", profile)))
    write("profile_packed.png", png(pixels, 8, 2, before=chunk(b"zTXt", packed)))


def pngs(save, write, photo, second, random):
    alpha = photo.crop((0, 0, 160, 120)).convert("RGBA")
    alpha.putalpha(Image.fromarray(random.integers(0, 256, (120, 160), dtype=np.uint8)))
    save("rgb.png", second)
    save("rgba.png", alpha)
    save("la.png", alpha.convert("LA"))
    save("grey.png", second.convert("L"))
    save("bilevel.png", second.convert("1"))
    save("palette.png", second.quantize(200))
    save("palette_16.png", second.quantize(13))
    save("palette_4.png", photo.quantize(4))
    save("palette_2.png", photo.quantize(2))
    save("palette_transparent.png", second.quantize(100), transparency=7)
    save("palette_alpha.png", second.quantize(64), transparency=bytes(range(64)))
    save("rgb_transparent.png", second.crop((0, 0, 60, 40)), transparency=(1, 2, 3))
    apng = [photo.crop((0, 0, 64, 48)), second.crop((0, 0, 64, 48))]
    save("animated.png", apng[0], save_all=True, append_images=apng[1:])
    for depth in (1, 2, 4, 8, 16):
        for colour, channels in ((0, 1), (2, 3), (3, 1), (4, 2), (6, 4)):
            if (colour in (2, 4, 6) and depth < 8) or (colour == 3 and depth > 8):
                continue
            colours = chunk(b"PLTE", random.integers(0, 256, 3 * min(1 << depth, 100), dtype=np.uint8).tobytes())
            for interlaced, size in ((False, (13, 21)), (True, (13, 21)), (True, (1, 1)), (True, (3, 2))):
                samples = random.integers(0, 1 << depth, size + (channels,))
                name = f"depth{depth}_colour{colour}_{size[1]}x{size[0]}{'_interlaced' if interlaced else ''}.png"
                write(name, png(samples, depth, colour, before=colours if colour == 3 else b"", interlaced=interlaced))
    ramp = np.arange(512).reshape(16, 32, 1)
    write("grey16_low.png", png(ramp, 16, 0))
    write("grey16_transparent.png", png(ramp, 16, 0, before=chunk(b"tRNS", b"\0\7")))
    write("gamma.png", png(random.integers(0, 256, (9, 9, 3)), 8, 2, before=chunk(b"gAMA", struct.pack(">I", 100000))))


def webps(save, photo, second):
    alpha = second.crop((0, 0, 200, 100)).convert("RGBA")
    alpha.putalpha(photo.crop((0, 0, 200, 100)).convert("L"))
    save("lossy.webp", photo, quality=80)
    save("lossy_low.webp", second, quality=5)
    save("lossless.webp", second, lossless=True)
    save("lossy_alpha.webp", alpha, quality=70)
    save("lossless_alpha.webp", alpha, lossless=True)
    save("exact_alpha.webp", alpha, lossless=True, exact=True)
    save("odd.webp", photo.crop((0, 0, 33, 17)), quality=50)
    save("one_pixel.webp", Image.new("RGB", (1, 1), (9, 99, 199)), quality=90)
    frames = [photo.crop((0, 0, 64, 48)), second.crop((0, 0, 64, 48))]
    save("animated.webp", frames[0], save_all=True, append_images=frames[1:], duration=50)
    save("animated_alpha.webp", alpha, save_all=True, append_images=[alpha.rotate(90, expand=False)], duration=50)


def shapes(save, photo, random):
    sizes = [(1, 1), (1, 4000), (4000, 1), (2, 3), (31, 33), (224, 224), (223, 225), (225, 300), (50, 900), (256, 256),
             (3, 1000), (1000, 3), (2000, 40)]
    for width, height in sizes:
        save(f"shape_{width}x{height}.png", Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)))
    save("large.png", photo.resize((2001, 1337), Image.Resampling.LANCZOS))


def make_images(folder):
    folder = pathlib.Path(folder)
    photo, second = (Image.fromarray(image) for image in sklearn.datasets.load_sample_images().images)
    random = np.random.default_rng(0)
    paths = []

    def write(name, data):
        paths.append(folder / name)
        paths[-1].write_bytes(data)

    def save(name, image, **options):
        paths.append(folder / name)
        image.save(paths[-1], **options)

    jpegs(save, photo, second)
    orientations(save, write, photo)
    pngs(save, write, photo, second, random)
    webps(save, photo, second)
    shapes(save, photo, random)
    cmyk = (folder / "cmyk.jpg").read_bytes()
    at = cmyk.index(b"Adobe") + 11
    write("ycck.jpg", cmyk[:at] + b"\2" + cmyk[at + 1 :])
    return paths


def make_damaged(folder, images):
    """Files that Pillow refuses: cut at places that lose pixels, of a declared size that the data cannot have, and nonsense."""
    folder = pathlib.Path(folder)
    paths = []

    def write(name, data):
        paths.append(folder / name)
        paths[-1].write_bytes(data)

    named = {path.name: path.read_bytes() for path in images}
    for name in ("china.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "palette.png", "lossy.webp", "lossless_alpha.webp"):
        data = named[name]
        for part in (0.02, 0.3, 0.9):
            write(f"cut{int(part * 100)}_{name}", data[: int(len(data) * part)])
    rgb = named["rgb.png"]
    for width, height in ((0, 10), (10, 0), (60000, 60000), (0x7FFFFFFF, 0x7FFFFFFF), (20000, 8000)):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        write(f"lying_{width}x{height}.png", rgb[:8] + header + rgb[33:])
    broken = bytearray(rgb)
    broken[rgb.index(b"IDAT") + 6] ^= 0xFF
    write("broken_deflate.png", bytes(broken))
    jpeg = bytearray(named["china.jpg"])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = b"\xff\xff\xff\xff"
    write("lying.jpg", bytes(jpeg))
    write("empty.jpg", b"")
    write("text.png", b"this is not an image\n")
    write("magic_only.jpg", b"\xff\xd8\xff")
    write("magic_only.png", b"\x89PNG\r\n\x1a\n")
    write("magic_only.webp", b"RIFF\x04\0\0\0WEBP")
    return paths
