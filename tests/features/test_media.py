import struct

import numpy as np
import pytest
from scipy.io import wavfile

from srcid.features import FeatureStore
from srcid.features.media import Media, MediaError, audio, image, read_image, read_wav, resolve, show


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    wavfile.write(folder / "ramp.wav", 100, np.arange(-100, 100, dtype=np.int16) * 300)
    wavfile.write(folder / "bytes.wav", 100, np.array([0, 128, 255], np.uint8))
    wavfile.write(folder / "float.wav", 100, np.array([0.5, -0.25], np.float32))
    wavfile.write(tmp_path / "secret.wav", 100, np.zeros(3, np.int16))
    return folder


def test_audio_is_cut_and_scaled(root):
    rate, samples = audio("wav:ramp.wav#0.5,1.5", root)
    assert rate == 100
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, np.arange(-50, 50) * 300 / 32768)
    assert len(audio("wav:ramp.wav", root)[1]) == 200
    np.testing.assert_allclose(audio("wav:bytes.wav", root)[1], [-1, 0, 127 / 128])
    np.testing.assert_allclose(audio("wav:float.wav", root)[1], [0.5, -0.25])


def riff(path, data: bytes, bits: int, kind: int = 1, extensible: bool = False, rate: int = 100) -> None:
    """Write a wav header of any kind and the data."""
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, 1, rate, rate * bits // 8, bits // 8, bits)
    if extensible:
        form += struct.pack("<HHI", 22, bits, 4) + struct.pack("<I", kind) + bytes.fromhex("000010008000 00aa00389b71")
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


WAVE = np.array([0, 0.5, -0.5, 0.25, -1])
ENCODINGS = {
    "8 bits": ((WAVE * 128 + 128).astype(np.uint8).tobytes(), 8, 1),
    "16 bits": ((WAVE * 2**15).astype("<i2").tobytes(), 16, 1),
    "24 bits": (b"".join(int(w * 2**23).to_bytes(3, "little", signed=True) for w in WAVE), 24, 1),
    "32 bits": ((WAVE * 2**31).astype("<i4").tobytes(), 32, 1),
    "float": (WAVE.astype("<f4").tobytes(), 32, 3),
    "double": (WAVE.astype("<f8").tobytes(), 64, 3),
}


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_of_a_wav_is_read_right(tmp_path, encoding, extensible):
    data, bits, kind = ENCODINGS[encoding]
    riff(tmp_path / "a.wav", data, bits, kind, extensible)
    rate, samples = read_wav(tmp_path / "a.wav")
    assert rate == 100 and samples.dtype == np.float32
    np.testing.assert_allclose(samples, WAVE, atol=1e-6)


def test_other_sounds_are_refused_by_name(tmp_path):
    riff(tmp_path / "law.wav", bytes(10), 8, kind=7)
    riff(tmp_path / "nan.wav", np.array([0, np.nan], "<f4").tobytes(), 32, kind=3)
    riff(tmp_path / "whole.wav", bytes(10), 8)
    whole = (tmp_path / "whole.wav").read_bytes()
    for cut in range(0, len(whole) - 10):
        (tmp_path / f"cut{cut}.wav").write_bytes(whole[:cut])
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "whole.wav").unlink()
    for file in tmp_path.iterdir():
        with pytest.raises(MediaError, match=file.name):
            read_wav(file)


def chunks(*parts: tuple[bytes, bytes], order: str = "<") -> bytes:
    body = b"WAVE" + b"".join(n + struct.pack(order + "I", len(d)) + d + b"\0" * (len(d) % 2) for n, d in parts)
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(order + "I", len(body)) + body


def test_chunks_of_a_wav_may_stand_in_other_orders_and_byte_orders(tmp_path):
    for order in "<>":
        form = struct.pack(order + "HHIIHH", 1, 1, 100, 200, 2, 16)
        data = (WAVE * 2**15).astype(order + "i2").tobytes()
        parts = (b"JUNK", b"odd"), (b"fmt ", form), (b"LIST", b"INFO"), (b"data", data), (b"id3 ", b"x")
        (tmp_path / "a.wav").write_bytes(chunks(*parts, order=order))
        np.testing.assert_allclose(read_wav(tmp_path / "a.wav")[1], WAVE, atol=1e-6)
    stream = chunks((b"fmt ", form := struct.pack("<HHIIHH", 1, 1, 100, 200, 2, 16)))
    data = (WAVE * 2**15).astype("<i2").tobytes()
    stream = stream[:4] + b"\xff" * 4 + stream[8:] + b"data" + b"\xff" * 4 + data
    (tmp_path / "stream.wav").write_bytes(stream)  # as what is written to a pipe, of no length that is known
    np.testing.assert_allclose(read_wav(tmp_path / "stream.wav")[1], WAVE, atol=1e-6)
    (tmp_path / "empty.wav").write_bytes(chunks((b"fmt ", form), (b"data", b"")))
    assert read_wav(tmp_path / "empty.wav")[1].shape == (0,)


def test_damaged_wavs_are_refused_by_name(tmp_path):
    form, data = struct.pack("<HHIIHH", 1, 1, 100, 200, 2, 16), bytes(10)
    whole = chunks((b"fmt ", form), (b"data", data))
    cases = {
        "cut": (whole[:-4], "is cut off: 4 bytes of the sound that its header tells of are missing"),
        "late": (chunks((b"data", data), (b"fmt ", form)), "No fmt chunk before data"),
        "none": (chunks((b"fmt ", form)), "its header is damaged"),
        "silent": (chunks((b"fmt ", struct.pack("<HHIIHH", 1, 0, 100, 200, 2, 16)), (b"data", data)), "is damaged"),
        "still": (chunks((b"fmt ", struct.pack("<HHIIHH", 1, 1, 0, 0, 2, 16)), (b"data", data)), "says 0 Hz"),
        "huge": (chunks((b"fmt ", struct.pack("<HHIIHH", 3, 1, 100, 800, 8, 64)), (b"data", struct.pack("<d", 1e300))),
                 "not finite"),
    }  # fmt: skip
    for name, (content, said) in cases.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
        with pytest.raises(MediaError, match=rf"{name}\.wav.*{said}"):
            read_wav(tmp_path / f"{name}.wav")


def test_every_kind_of_png_is_read_right(tmp_path):
    from PIL import Image

    grey = np.array([[0, 51], [102, 255]], np.uint8)
    colours = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    clear = np.array([[0, 255], [255, 255]], np.uint8)  # the first pixel is transparent: white
    white = np.where(clear[..., None], colours, 255)
    palette = Image.fromarray(colours).quantize(4)
    cases = {
        "grey": (Image.fromarray(grey), grey),
        "bits": (Image.fromarray(grey > 60), np.where(grey > 60, 255, 0)),
        "sixteen": (Image.fromarray(grey.astype(np.uint16) * 257), grey),
        "colours": (Image.fromarray(colours), colours),
        "palette": (palette, np.asarray(palette.convert("RGB"))),
        "transparent": (Image.fromarray(np.dstack([colours, clear])), white),
        "grey and transparent": (Image.fromarray(np.dstack([grey, clear])), np.where(clear, grey, 255)),
    }
    for name, (picture, need) in cases.items():
        picture.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(image(f"png:{name}.png", tmp_path), need, err_msg=name)
    Image.fromarray(grey).save(tmp_path / "key.png", transparency=102)
    np.testing.assert_array_equal(image("png:key.png", tmp_path), [[0, 51], [255, 255]])
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "key16.png", transparency=102 * 257)
    np.testing.assert_array_equal(image("png:key16.png", tmp_path), [[0, 51], [255, 255]])


def test_pictures_of_other_formats(tmp_path):
    from PIL import Image

    grey = np.array([[0, 51, 60], [102, 255, 200]], np.uint8)
    colours = np.kron(np.stack([grey, 255 - grey, grey // 2], -1), np.ones((8, 8, 1), np.uint8))
    for name, options in {"cmyk.tif": {}, "cmyk.jpg": {"quality": 100, "subsampling": 0}}.items():
        Image.fromarray(colours).convert("CMYK").save(tmp_path / name, **options)
        np.testing.assert_allclose(read_image(tmp_path / name).astype(int), colours, atol=3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    for values in (grey, grey.astype(np.uint16) * 257, np.stack([grey] * 3, -1)):
        for ending in ("tif", "png"):
            Image.fromarray(values).save(tmp_path / f"turned.{ending}", exif=exif)
            turned = read_image(tmp_path / f"turned.{ending}")
            np.testing.assert_array_equal(turned.reshape(3, 2, -1)[..., 0], np.rot90(grey, -1))
    for name, values in {"float": (grey / 255).astype(np.float32), "whole": grey.astype(np.int32)}.items():
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
        with pytest.raises(MediaError, match=rf"{name}.tif .*numbers of 32 bits"):
            read_image(tmp_path / f"{name}.tif")


def test_other_pictures_are_refused_by_name(tmp_path, monkeypatch):
    from PIL import Image

    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_bytes(b"no picture")
    Image.new("L", (2, 2)).save(tmp_path / "other.png", format="BMP")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    few = Image.new("P", (2, 1), 7)
    few.putpalette([255, 0, 0])
    few.save(tmp_path / "few.png")
    late = Image.new("P", (2, 1), 100)  # 3 * 100 does not fit into the byte that a number of a colour is
    late.putpalette(range(180))
    late.save(tmp_path / "late.png")
    for name in ("cut", "text", "other", "whole", "few", "late"):
        with pytest.raises(MediaError, match=f"{name}.png"):
            image(f"png:{name}.png", tmp_path)


def test_files_may_have_a_number_sign_in_their_name(root):
    (root / "ramp.wav").rename(root / "-take #2.wav")
    assert len(audio("wav:-take #2.wav#0.5,1.5", root)[1]) == 100
    assert len(audio("wav:-take #2.wav", root)[1]) == 200


def test_digits_and_words_are_resolved():
    picture = image("digits:0")
    assert (picture.shape, picture.dtype, picture.max()) == ((8, 8), np.uint8, 239)
    assert resolve("word:seven") == Media("word", "seven")
    assert resolve("word:a:b") == Media("word", "a:b")
    assert resolve("digits:3").kind == "image"
    rate, samples = resolve("voice:7").content
    assert rate == 8000 and samples.dtype == np.float32 and 0.85 < np.abs(samples).max() < 0.95
    assert resolve("") == Media("none", None)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("wav:../secret.wav", "leaves the media folder"),
        ("wav:/etc/hostname", "leaves the media folder"),
        ("wav:gone.wav", "found no .*gone.wav"),
        ("wav:ramp.wav#a,b", "need 'wav:FILE#START,STOP'"),
        ("digits:1797", "need 'png:FILE' or 'digits:0' to 'digits:1796'"),
        ("digits:-1", "need 'png:FILE'"),
        ("digits:x", "need 'png:FILE'"),
        ("voice:1350", "found 'voice:1350': found recording 1350, need 0 to 1349"),
        ("voice:-1", "need 0 to 1349"),
        ("smell:rose", "need KIND:LOCATOR"),
        ("seven", "need KIND:LOCATOR"),
    ],
)
def test_bad_references_are_refused(root, reference, message):
    with pytest.raises(MediaError, match=message):
        resolve(reference, root)


def test_asking_for_the_wrong_kind_is_refused(root):
    with pytest.raises(MediaError, match=r"need 'wav:\.\.\.'"):
        audio("word:seven", root)
    with pytest.raises(MediaError, match="need 'png:FILE'"):
        image("word:seven", root)


def test_show_finds_what_a_step_of_a_store_stands_for(root, tmp_path):
    media = np.array([["wav:ramp.wav#0.0,0.1", ""], ["word:hello", "digits:5"]])
    features = {m: np.arange(4.0).reshape(2, 2, 1) for m in ("a", "b")}
    store = FeatureStore.create(
        tmp_path / "store", features, splits={"all": [0, 1]}, media={"a": media}, media_root=root
    )
    assert len(show(store, "a", 0, 0).content[1]) == 10
    assert [show(store, "a", *at).kind for at in ((0, 0), (0, 1), (1, 0), (1, 1))] == [
        "audio",
        "none",
        "word",
        "image",
    ]
    assert show(store, "b", 0, 0) == Media("none", None)
    with pytest.raises(MediaError, match="no modality 'c'"):
        show(store, "c", 0, 0)
