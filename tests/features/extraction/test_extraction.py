"""From raw media to a store: what is seen and heard is what is kept, at its step; what is broken is named."""

from __future__ import annotations

import json
import sys
import unicodedata

import numpy as np
import pytest

from srcid.__main__ import main
from srcid.features import FeatureStore, StoreError
from srcid.features.extraction import example, extract, make_clips
from srcid.features.extraction.listing import Event, listing
from srcid.features.extraction.reading import ReadError, read_frames, read_sound, read_words
from srcid.features.front_ends import FRONT_ENDS, log_mel, patches, subwords, word_vector
from srcid.features.media import read_image, resolve
from srcid.features.recordings import mel_filters
from tests.features import media_files as files

av = pytest.importorskip("av")
soundfile = pytest.importorskip("soundfile")


def colours(store, row):
    """The colour of each step of a video, by the mean of its patches; None where masked."""
    found = []
    for step, there in enumerate(store.masks["video"][row]):
        mean = store.features["video"][row, step].reshape(-1, 3).mean(0)
        found.append(list(files.COLOURS)[int(mean.argmax())] if there else None)
    return found


def pitch(samples, rate):
    """Frequency of a tone in Hz."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.fft.rfftfreq(len(samples), 1 / rate)[power.argmax()]


@pytest.fixture
def clips(tmp_path):
    """Two videos, and one clip of a picture, a sound and a sentence."""
    root = tmp_path / "in"
    files.video(root / "dog/a.mp4", ["red", "green", "blue"], [500, 1000, 2000])
    files.video(root / "dog/b.mp4", ["green", "red"], [2000, 500])
    files.picture(root / "bell/c.png", "blue")
    files.wav(root / "bell/c.wav", [1000, 1000, 500, 500])
    (root / "bell/c.txt").write_text("A bell, rings.")
    return root


def test_each_step_holds_what_is_seen_heard_and_said_in_it(clips, tmp_path):
    done = extract(clips, tmp_path / "store", steps=4)
    store = FeatureStore.open(tmp_path / "store")
    assert store.ids.tolist() == ["bell/c", "dog/a", "dog/b"] and done.left_out == {}
    assert store.shapes == {"audio": (128,), "video": (4, 4, 48), "text": (64,)}
    assert [colours(store, row) for row in range(3)] == [
        ["blue"] * 4,
        ["red", "green", "blue", None],
        ["green", "red", None, None],
    ]
    assert store.masks["audio"].sum(1).tolist() == [4, 3, 2]
    assert store.masks["text"].tolist() == [[True] * 3 + [False], [False] * 4, [False] * 4]
    np.testing.assert_array_equal(store.features["text"][0, 1], word_vector("bell", 64))
    for row, hertz in enumerate([(1000, 1000, 500, 500), (500, 1000, 2000), (2000, 500)]):
        for step, want in enumerate(hertz):
            bands = store.features["audio"][row, step].reshape(4, 32)
            loudest = mel_filters(32, 16_000, 512)[round(want * 512 / 16_000)].argmax()
            assert (np.abs(bands[1:3].argmax(1) - loudest) <= 1).all()
    for m in store.modalities:
        assert not store.features[m][~store.masks[m]].any()


def test_what_is_kept_is_heard_and_seen_wherever_the_store_lies(clips, tmp_path):
    extract(clips, tmp_path / "store", steps=4)
    (tmp_path / "store").rename(tmp_path / "moved")
    store = FeatureStore.open(tmp_path / "moved")
    for row, hertz in ((1, (500, 1000, 2000)), (2, (2000, 500))):
        for step, want in enumerate(hertz):
            rate, samples = resolve(store.media["audio"][row, step], store.media_root).content
            assert len(samples) / rate == pytest.approx(1, abs=0.1)
            assert pitch(samples, rate) == pytest.approx(want, abs=3)
            seen = resolve(store.media["video"][row, step], store.media_root).content
            assert list(files.COLOURS)[int(seen.mean((0, 1)).argmax())] == colours(store, row)[step]
        assert store.media["audio"][row, len(hertz)] == store.media["video"][row, len(hertz)] == ""
    assert resolve(store.media["text"][0, 2]).content == "rings"
    assert len(set(store.media["video"][0])) == 1  # a picture is kept once
    extract(clips, tmp_path / "bare", steps=4, keep_media=False)
    assert not (tmp_path / "bare/clips").exists() and list(FeatureStore.open(tmp_path / "bare").media) == ["text"]
    assert FeatureStore.open(tmp_path / "bare").features["audio"].shape == (3, 4, 128)


def test_a_list_says_labels_by_the_second_captions_and_splits(clips, tmp_path):
    (clips / "clips.csv").write_text(
        "file,split,label,onset,offset,caption,url\n"
        "dog/a.mp4,training,bark,0,1.4,a dog barks,x\n"
        "dog/a.mp4,training,horn,1.9,2.1,a dog barks,x\n"
        "dog/b.mp4,test,,,,nothing is said of it,x\n"
        "bell/c.wav,test,bell,,,a bell,x\n"
    )
    store = extract(clips, tmp_path / "store", steps=3).store
    assert store.label_info["event"].classes == ("bark", "bell", "horn")
    assert store.ids.tolist() == ["bell/c", "dog/a", "dog/b"]
    assert store.labels["event"][1].T.tolist() == [[True, False, False], [False] * 3, [False, True, False]]
    assert store.labels["event"][0, :, 1].all()  # no times: throughout
    assert store.labelled["event"].tolist() == [[True] * 3, [True] * 3, [False] * 3]  # no label is no background
    assert {s: rows.tolist() for s, rows in store.splits.items()} == {"test": [0, 2], "train": [1]}
    assert store.media["text"][2].tolist() == ["word:nothing", "word:is", "word:said"]
    assert "columns url of clips.csv are left out" in store.provenance["notes"]


def test_columns_of_their_own_for_each_modality(clips, tmp_path):
    rows = ["id;video;audio;text", "one;dog/a.mp4;bell/c.wav;bell/c.txt", "two;bell/c.png;dog/b.mp4;"]
    (clips / "x.csv").write_text("\n".join(rows))
    store = extract(clips, tmp_path / "store", steps=2).store
    assert store.ids.tolist() == ["one", "two"] and store.masks["text"].any(1).tolist() == [True, False]
    assert [colours(store, row) for row in (0, 1)] == [["red", "green"], ["blue", "blue"]]
    heard = [resolve(ref, store.media_root).content for ref in store.media["audio"].ravel()]
    assert [round(pitch(samples, rate), -1) for rate, samples in heard] == [1000, 1000, 2000, 500]
    assert "event" not in store.labels


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_lists_of_every_dialect_say_the_same(clips, separator, encoding):
    rows = [["file", "label", "onset"], ["dog/a.mp4", "Bär", "0.5"], ["bell/c.wav", "", ""]]
    (clips / "list.csv").write_bytes("\r\n".join(map(separator.join, rows)).encode(encoding))
    found = listing(clips)
    assert [clip.name for clip in found.clips] == ["bell/c", "dog/a"]
    assert found.clips[1].events == [Event("Bär", 0.5)] and found.clips[0].events == []
    assert any("read as Windows-1252" in note for note in found.notes) == (encoding in ("latin-1", "cp1252"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label,file\ndog/a.mp4,x,dog/b.mp4\n", "found more than one column file"),
        ("file,label,onset,offset\ndog/a.mp4,x,1_0,20\n", "found onset '1_0', offset '20'"),
        ("file;label;onset;offset\ndog/a.mp4;x;0,5;2\n", "found onset '0,5', offset '2'"),
        ('file,label\ndog/a.mp4,"x\ndog/b.mp4,y\n', "is there a quote that is not closed"),
        ("file,label\ndog/a.mp4,\x81\n", "neither UTF-8 nor UTF-16 nor Windows-1252"),
    ],
)
def test_lists_that_say_two_things_are_refused(clips, text, said):
    (clips / "list.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=said):
        listing(clips)


def test_lists_may_be_quoted_begin_with_blank_lines_and_write_paths_as_windows_does(clips):
    (clips / "list.csv").write_text('\n"file"\t"label"\n"dog\\a.mp4"\t"a dog"\n"./bell/c.wav"\t""\n')
    found = listing(clips)
    assert [clip.name for clip in found.clips] == ["bell/c", "dog/a"]
    assert all(file.is_file() for clip in found.clips for file in clip.files.values())


def test_forms_of_unicode_and_links_to_oneself_make_no_second_clip(tmp_path):
    whole, parts = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    files.picture(tmp_path / f"in/x/{whole}.png", "red")
    (tmp_path / f"in/x/{parts}.txt").write_text("it is red")
    (tmp_path / "in/x/back").symlink_to(tmp_path / "in")
    (tmp_path / "in/x/everything").symlink_to("/")
    found = listing(tmp_path / "in")
    assert [(clip.name, sorted(clip.files)) for clip in found.clips] == [(f"x/{whole}", ["text", "video"])]
    assert "2 links to a folder that they lie in are left out" in found.notes
    (tmp_path / "in/a.csv").write_text(f"file,caption\nx/{parts}.png,it is red\n")
    [clip] = listing(tmp_path / "in").clips
    assert clip.name == f"x/{whole}" and clip.files["video"].is_file()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_texts_of_every_encoding_are_read(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("A bär, here".encode(encoding))
    assert read_words(tmp_path / "a.txt") == ["A", "bär", "here"]
    (tmp_path / "b.txt").write_bytes("bär".encode("latin-1"))
    with pytest.raises(ReadError, match=r"b\.txt is neither UTF-8 nor UTF-16"):
        read_words(tmp_path / "b.txt")


def test_events_after_the_last_step_are_noted(clips, tmp_path):
    (clips / "a.csv").write_text("file,label,onset,offset\ndog/a.mp4,bark,7,9\ndog/b.mp4,bark,0,1\n")
    done = extract(clips, tmp_path / "store", steps=3)
    assert "1 events begin after the last step and are not seen" in done.notes
    assert done.store.labels["event"].sum() == 1 and not done.store.labelled


def test_folders_may_say_the_split(clips, tmp_path):
    for split in ("train", "test"):
        (clips / split).mkdir()
    (clips / "dog").rename(clips / "train/dog")
    (clips / "bell").rename(clips / "test/bell")
    found = listing(clips)
    assert [(c.name, c.split, c.events[0].label) for c in found.clips] == [
        ("test/bell/c", "test", "bell"), ("train/dog/a", "train", "dog"), ("train/dog/b", "train", "dog"),
    ]  # fmt: skip


def test_without_splits_names_decide(tmp_path):
    for n in range(40):
        files.picture(tmp_path / f"in/dog/{n}.png", "red")
    found = listing(tmp_path / "in")
    counts = {split: sum(c.split == split for c in found.clips) for split in ("train", "val", "test")}
    assert counts == {"train": 28, "val": 4, "test": 8} and "by a hash of names" in found.notes[0]
    assert found == listing(tmp_path / "in")


def test_broken_files_are_left_out_with_their_reasons(clips, tmp_path, capsys):
    (clips / "dog/broken.mp4").write_bytes(b"this is no video")
    (clips / "dog/cut.mp4").write_bytes((clips / "dog/a.mp4").read_bytes()[:3000])
    (clips / "bell/empty.wav").write_bytes(b"RIFF")
    (clips / "dog/read.me").write_text("")
    assert main(["extract", str(clips), str(tmp_path / "store"), "--steps", "3"]) == 0
    store = FeatureStore.open(tmp_path / "store")
    assert store.clips == 3 and set(store.provenance["left_out"]) == {"dog/broken", "dog/cut", "bell/empty"}
    said = capsys.readouterr().err
    assert "dog/broken: broken.mp4 cannot be read" in said and "1 files ending in '.me' are left out" in said
    assert main(["extract", str(clips), str(tmp_path / "strict"), "--strict"]) == 2
    assert "clip bell/empty: empty.wav" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "store"]


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_sounds_of_every_format_are_heard(tmp_path, ending):
    root = tmp_path / "in"
    for rate, name in ((44_100, "a"), (8_000, "b")):
        files.picture(root / f"x/{name}.png", "red")
        samples = files.tone([500, 1500], rate)
        soundfile.write(root / f"x/{name}.{ending}", np.stack([samples, samples], 1), rate)
    store = extract(root, tmp_path / "store", steps=2).store
    for refs in store.media["audio"]:
        heard = [resolve(ref, store.media_root).content for ref in refs]
        assert [pitch(samples, rate) for rate, samples in heard] == pytest.approx([500, 1500], abs=5)


def test_large_frames_are_made_smaller_and_turned_ones_upright(tmp_path):
    file = files.video(tmp_path / "a.mp4", ["red", "blue"])
    whole, lasts = read_frames(file, np.array([0.5, 1.5, 2.5]), 48)
    assert [seen.size for seen in whole] == [(64, 48)] * 2 and lasts == pytest.approx(2)
    small, _ = read_frames(file, np.array([0.5, 1.5]), 12)
    assert [seen.size for seen in small] == [(32, 24)] * 2
    assert [np.asarray(seen).mean((0, 1)).argmax() for seen in small] == [0, 2]
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        shown = container.add_stream("mpeg4", rate=4)
        shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
        wide = np.zeros((48, 64, 3), np.uint8)
        wide[:, :32] = 255  # the left half is bright
        for _ in range(4):
            container.mux(shown.encode(av.VideoFrame.from_ndarray(wide, format="rgb24")))
        container.mux(shown.encode())
    flat, _ = read_frames(tmp_path / "turned.mp4", np.array([0.5]), 48)
    assert np.asarray(flat[0])[:, 10].mean() > 200 > 50 > np.asarray(flat[0])[:, 50].mean()


def test_sound_that_begins_later_than_the_pictures_stays_at_its_step(tmp_path):
    file = files.video(tmp_path / "a.mp4", ["red", "blue", "red"], [1000], late=1.0)
    samples = read_sound(file, 16_000, 3)
    assert np.flatnonzero(np.abs(samples) > 0.1)[[0, -1]] / 16_000 == pytest.approx([1, 2], abs=0.01)
    seen, _ = read_frames(file, np.array([0.5, 1.5]), 48)
    assert [np.asarray(frame).mean((0, 1)).argmax() for frame in seen] == [0, 2]


def test_a_camera_held_upright_takes_upright_pictures(tmp_path):
    from PIL import Image

    seen = Image.new("RGB", (40, 20))
    seen.paste((255, 255, 255), (0, 0, 20, 20))  # the left half is bright
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    seen.save(tmp_path / "a.jpg", exif=exif)
    upright = read_image(tmp_path / "a.jpg")
    assert upright.shape == (40, 20, 3) and upright[:15].mean() > 240 > 15 > upright[25:].mean()


def test_example_clips_need_no_package(tmp_path, monkeypatch):
    films = listing(make_clips(tmp_path / "films", 6))
    monkeypatch.setattr(example, "find_spec", lambda name: None)
    plain = listing(make_clips(tmp_path / "plain", 6))
    for found, endings in ((films, {".mp4"}), (plain, {".png", ".wav"})):
        assert {file.suffix for clip in found.clips for file in clip.files.values()} == endings
        assert found.classes == ("ball", "box", "kite")
        assert {clip.split for clip in found.clips} == {"train", "val", "test"}
    store = extract(tmp_path / "films", tmp_path / "store", steps=6).store
    loud = store.features["audio"].reshape(6, 6, 4, 32).max((2, 3))
    event = store.labels["event"].any(-1)
    assert loud[event].min() > loud[~event].max()  # a tone is heard when the list says so


def test_the_users_own_front_ends(clips, tmp_path, monkeypatch):
    (tmp_path / "mine_front.py").write_text(
        "import torch\n"
        "def loudness():\n"
        "    def apply(steps):\n"
        "        return (steps**2).mean(1, keepdims=True)\n"
        "    apply.rate, apply.version = 8000, '7'\n"
        "    return apply\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    made = torch.nn.Conv2d(3, 5, 8, stride=8)\n"
        "    made.size = 32\n"
        "    return made.train()\n"
        "def broken():\n"
        "    return lambda steps: 1 / 0\n"
        "def odd():\n"
        "    return lambda steps: steps[0]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = {"audio": "mine_front:loudness", "video": "mine_front:net", "text": "none"}
    store = extract(clips, tmp_path / "store", steps=2, front_ends=own).store
    assert store.shapes == {"audio": (1,), "video": (4, 4, 5)}  # channels go last
    assert store.features["audio"][0, 0, 0] == pytest.approx(0.045, rel=0.05)
    import torch

    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 5, 8, stride=8)
    blue = torch.tensor(files.COLOURS["blue"]) / 255
    with torch.no_grad():
        want = net(blue[None, :, None, None].expand(1, 3, 32, 32))[0].movedim(0, -1).numpy()
    np.testing.assert_allclose(store.features["video"][0, 0], want, atol=1e-5)
    facts = store.provenance["front_ends"]
    assert facts["audio"]["version"] == "7" and facts["audio"]["weights_sha256"] == ""
    assert len(facts["video"]["weights_sha256"]) == 64 and len(facts["video"]["version"]) == 12
    for name, said in (
        ("broken", "raised ZeroDivisionError"), ("odd", r"returned .*, need numbers \[1, F\]"),
        ("nothing", "AttributeError"), (":", "need log-mel, none, vggish=WEIGHTS, or MODULE:FUNCTION"),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=said):
            extract(clips, tmp_path / "no", front_ends={"audio": f"mine_front:{name}" if name != ":" else "logmel"})
    assert not (tmp_path / "no").exists()
    sys.modules.pop("mine_front")


def test_front_ends_without_weights():
    steps = np.zeros((2, 1, 64, 64, 3), np.uint8)
    steps[1, 0, :16, 16:32] = (255, 128, 0)
    found = patches(steps)
    assert found.shape == (2, 4, 4, 48) and (found[0] == -2).all()
    np.testing.assert_allclose(found[1, 0, 1].reshape(4, 4, 3), np.broadcast_to([2, 0.0078, -2], (4, 4, 3)), atol=1e-3)
    assert (np.delete(found[1].reshape(16, 48), 1, axis=0) == -2).all()
    quiet, loud = log_mel(np.stack([0.01 * files.tone([1000]), files.tone([1000])])).reshape(2, 4, 32)
    assert loud.max() - quiet.max() == pytest.approx(4 / 1.5, abs=0.05)  # 40 dB are four powers of ten
    a, b, c = subwords(["ringing", "Ringing", "bell"])
    assert (a == b).all() and np.corrcoef(a, subwords(["ring"])[0])[0, 1] > np.corrcoef(a, c)[0, 1] + 0.1
    shapes = {m: end.shape(m, 0.5) for m, end in FRONT_ENDS.items()}
    assert shapes == {"audio": (128,), "video": (4, 4, 48), "text": (64,)}


MISTAKES = {
    "no folder": (lambda root: root / "absent", {}, "there is no such folder"),
    "two lists": (lambda root: [(root / n).write_text("") for n in ("a.csv", "b.csv")], {}, "need one list; name it"),
    "no media": (lambda root: [p.unlink() for p in root.rglob("*.*")], {}, "found no media in it; need files such as"),
    "columns": (lambda root: (root / "a.csv").write_text("path,label\nx,y\n"), {}, "found columns path, label, need"),
    "outside": (lambda root: (root / "a.csv").write_text("file\n../x.wav\n"), {}, "row 2: ../x.wav leaves"),
    "ending": (lambda root: (root / "a.csv").write_text("file\nx.doc\n"), {}, "row 2: x.doc ends in '.doc', need one"),
    "times": (
        lambda root: (root / "a.csv").write_text("file,label,onset,offset\na.wav,dog,3,2\nb.wav,dog,now,2\n"), {},
        r"row 2: found onset '3', offset '2'; need seconds(.|\n)*row 3: found onset 'now'",
    ),
    "another split": (
        lambda root: (root / "a.csv").write_text("file,split\na.wav,train\na.wav,test\n"), {}, "row 3: clip a has",
    ),
    "twice": (lambda root: files.picture(root / "dog/a.png", "red"), {}, "dog/a has two files for video: a.mp4 and"),
    "one modality": (lambda root: None, {"front_ends": {"audio": "none", "text": "none"}}, "found video only, need"),
    "modality": (lambda root: None, {"front_ends": {"smell": "x"}}, "found a front end for smell, need one of"),
    "split name": (
        lambda root: (root / "a.csv").write_text("video,audio,split\ndog/a.mp4,bell/c.wav,my split!\n"), {},
        "split name 'my split!' cannot be a file name",
    ),
    "label": (lambda root: (root / "dog").rename(root / "d\tog"), {}, r"classes of event: found 1 like 'd\\tog'"),
    "same names": (
        lambda root: [files.picture(root / f"{name}/x.png", "red") for name in ("\u00e9", "e\u0301")], {},
        "has two files for video: x.png and x.png; files of one name",
    ),
    "steps": (lambda root: None, {"steps": 0}, "found 0 steps, need 1 to 10,000"),
    "seconds": (lambda root: None, {"seconds": float("nan")}, "found steps of nan s"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named_before_anything_is_made(clips, tmp_path, case):
    spoil, options, said = MISTAKES[case]
    source = spoil(clips)
    with pytest.raises(StoreError, match=said):
        extract(source if case == "no folder" else clips, tmp_path / "store", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_modality_that_no_clip_has_is_named(tmp_path):
    files.video(tmp_path / "in/x/a.mp4", ["red"])
    (tmp_path / "in/x/a.txt").write_text("red")
    with pytest.raises(StoreError, match="audio: no clip has any; leave it out by --audio none"):
        extract(tmp_path / "in", tmp_path / "store")
    store = extract(tmp_path / "in", tmp_path / "store", front_ends={"audio": "none"}).store
    assert store.modalities == ("video", "text")


def test_files_that_need_a_package_name_it(clips, tmp_path, monkeypatch):
    from srcid.features.extraction import reading

    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    with pytest.raises(StoreError, match=r"found \.mp4 files, which need the package av: pip install 'srcid\[media\]'"):
        extract(clips, tmp_path / "store")
    for file in clips.glob("dog/*"):
        file.unlink()
    assert extract(clips, tmp_path / "store").store.clips == 1  # wav, png and txt need none


def test_the_command_takes_all_that_the_function_takes(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here_front.py").write_text("def build():\n    return lambda steps: steps[:, :3]\n")
    (tmp_path / "some.csv").write_text("file\ndog/a.mp4\n")
    asked = ["extract", "in", "store", "--list", "some.csv", "--steps", "6", "--seconds", "0.5", "--no-media"]
    assert main([*asked, "--audio", "here_front:build"]) == 0
    store = FeatureStore.open("store")
    assert (store.clips, store.steps, store.shapes["audio"]) == (1, 6, (3,)) and store.masks["video"].all()
    assert json.loads((tmp_path / "store/manifest.json").read_text())["provenance"]["front_ends"]["audio"]["name"] == (
        "here_front:build"
    )
    assert not list(store.media) and main(asked) == 2  # the store is there
    sys.modules.pop("here_front")


@pytest.mark.parametrize("where", ["store", "in/store"])
def test_the_same_extraction_again_is_done_and_another_one_is_refused(clips, tmp_path, where):
    first = extract(clips, tmp_path / where, steps=4)
    again = extract(clips, tmp_path / where, steps=4)
    assert again.store.checksum == first.store.checksum and again.left_out == first.left_out
    assert again.notes == first.notes
    with pytest.raises(StoreError, match="never overwritten"):
        extract(clips, tmp_path / where, steps=3)
    (clips / "bell/c.txt").write_text("A bell!")
    with pytest.raises(StoreError, match="never overwritten"):
        extract(clips, tmp_path / where, steps=4)
