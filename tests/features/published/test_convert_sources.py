"""Archives, HDF5 files and lists: what fits is read, what does not is refused by its name."""

import pickle
import re
import zipfile

import h5py
import numpy as np
import pytest

from srcid.features import StoreError
from srcid.features.published import Events, Found, Sentences, SourceError, archives, avvp_events, event_seconds
from srcid.features.published.archives import Archives, check_hdf5, files_below, read_archive
from srcid.features.published.ave import CLASSES, SHARED
from srcid.features.published.lists import ave_annotations, clotho_captions, coco_captions, order
from tests.features.published.published_files import archive, hdf5, listing, sentences
from tests.helpers import reference


def refused(file, match):
    with pytest.raises(SourceError, match=match) as caught:
        read_archive(str(file))
    assert str(file) in str(caught.value)


def test_an_archive_of_one_or_several_arrays(tmp_path):
    value = np.arange(20.0).reshape(10, 2)
    alone = archive(tmp_path / "a.zip", value)
    both = archive(tmp_path / "b.zip", {"audio": value, "video": value + 1}, method=zipfile.ZIP_STORED)
    bare = tmp_path / "c.pkl"
    bare.write_bytes(pickle.dumps(value))
    np.save(tmp_path / "d.npy", value)
    for file in (alone, bare, tmp_path / "d.npy"):
        np.testing.assert_array_equal(Archives("audio").read(str(file)), value)
    np.testing.assert_array_equal(Archives("video", alone=False).read(str(both)), value + 1)
    with pytest.raises(SourceError, match="found entries audio, video, need 'label'"):
        Archives("label").read(str(both))
    with pytest.raises(SourceError, match="one folder for each modality"):
        Archives("audio", alone=False).read(str(alone))


def test_a_path_that_climbs_out_is_refused(tmp_path):
    for number, member in enumerate(("../out.pkl", "/etc/out.pkl", "a/../../out.pkl", "..\\out.pkl", "C:\\out.pkl")):
        refused(archive(tmp_path / f"{number}.zip", np.zeros(3), member=member), "climbs out")
    assert [file.suffix for file in tmp_path.iterdir()] == [".zip"] * 5


def test_a_zip_bomb_is_refused_by_what_it_declares_and_by_what_it_holds(tmp_path):
    bomb = archive(tmp_path / "declared.zip", bytes(80 * 2**20))
    assert bomb.stat().st_size < 2**20
    refused(bomb, "unpacks to 83886080 bytes")
    data = bytearray(bomb.read_bytes())
    for signature, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # both headers lie about the size
        start = data.index(signature) + place
        data[start : start + 4] = (1000).to_bytes(4, "little")
    liar = tmp_path / "liar.zip"
    liar.write_bytes(data)
    refused(liar, "liar.zip")
    refused(archive(tmp_path / "lzma.zip", np.zeros(3), method=zipfile.ZIP_LZMA), "method 14")


def test_other_archives_are_refused(tmp_path):
    two = tmp_path / "two.zip"
    with zipfile.ZipFile(two, "w") as held:
        held.writestr("a.pkl", pickle.dumps(np.zeros(2)))
        held.writestr("b.pkl", pickle.dumps(np.zeros(2)))
    refused(two, "found 2 pickles among 2 members")
    refused(archive(tmp_path / "none.zip", b"x", member="readme.txt"), "found 0 pickles")
    text = tmp_path / "text.zip"
    text.write_text("no archive")
    refused(text, "not a zip file")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(archive(tmp_path / "whole.zip", np.random.default_rng(0).random(5000)).read_bytes()[:-3000])
    refused(cut, "cut.zip")
    spoilt = bytearray((tmp_path / "whole.zip").read_bytes())
    spoilt[3000] ^= 255
    (tmp_path / "spoilt.zip").write_bytes(spoilt)
    refused(tmp_path / "spoilt.zip", "spoilt.zip")
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}], object), allow_pickle=True)
    refused(objects, "objects.npy")
    refused(tmp_path / "absent.zip", "absent.zip")


def test_hdf5_files_of_other_names_and_shapes_are_refused(tmp_path):
    good = hdf5(tmp_path / "good.h5", np.zeros((3, 10, 128)))
    assert check_hdf5(good, "avadataset", (None, 10, 128)) == ([], (3, 10, 128))
    cases = {
        "found other, need the dataset 'avadataset'": hdf5(tmp_path / "name.h5", np.zeros((3, 10, 128)), "other"),
        r"\[3, 128\], need \[3, 10, 128\]": hdf5(tmp_path / "rank.h5", np.zeros((3, 128))),
        r"\[2, 10, 128\], need": hdf5(tmp_path / "rows.h5", np.zeros((2, 10, 128))),
        "type": hdf5(tmp_path / "type.h5", np.full((3, 10, 128), b"a")),
    }
    with h5py.File(tmp_path / "link.h5", "w") as held:
        held["avadataset"] = h5py.ExternalLink(str(good), "avadataset")
    with h5py.File(tmp_path / "outside.h5", "w") as held:
        held.create_dataset("avadataset", (3, 10, 128), "f8", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])
    with h5py.File(tmp_path / "virtual.h5", "w") as held:
        layout = h5py.VirtualLayout((3, 10, 128), "f8")
        layout[:] = h5py.VirtualSource(str(good), "avadataset", (3, 10, 128))
        held.create_virtual_dataset("avadataset", layout)
    (tmp_path / "text.h5").write_text("no HDF5")
    cases |= {
        "in the file": tmp_path / "link.h5",
        "other files; need": tmp_path / "outside.h5",
        "keeps its values in other files": tmp_path / "virtual.h5",
        "is no HDF5 file": tmp_path / "text.h5",
    }
    for said, file in cases.items():
        [problem], _ = check_hdf5(file, "avadataset", (3, 10, 128))
        assert re.search(said, problem) and str(file) in problem


def test_files_are_found_in_any_arrangement(tmp_path):
    for file in ("x/Audio/zip/a.zip", "x/visual/a.zip", "y/video/a.zip", "y/video/b.zip", "c.zip"):
        archive(tmp_path / file, np.zeros(1))
    (tmp_path / "loop").symlink_to(tmp_path)
    listing(tmp_path / "x/list.csv", ["a"], [[1]])
    found = Found.below(tmp_path)
    assert {name: sorted(files) for name, files in found.archives.items()} == {
        "audio": ["a"], "video": ["a", "b"], "": ["c"],
    }  # fmt: skip
    assert found.doubled == ["y/video/a.zip"]
    assert found.one("*.CSV").name == "list.csv" and found.one("absent.csv") is None
    listing(tmp_path / "y/other.csv", ["a"], [[1]])
    found = Found.below(tmp_path)
    assert found.one("other.csv", "*.csv").name == "other.csv"
    with pytest.raises(SourceError, match=r"several \*\.csv: x/list\.csv, y/other\.csv"):
        found.one("*.csv")
    with pytest.raises(SourceError, match="need the one that holds the published files"):
        Found.below(tmp_path / "nowhere")


def test_links_lead_nowhere_above_and_files_are_bounded(tmp_path, monkeypatch):
    for place in ("secret", "data/x", "elsewhere"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "list.csv").write_text("")
    links = {"root": "/", "parent": tmp_path, "itself": tmp_path / "data", "out": tmp_path / "elsewhere"}
    for name, to in links.items():
        (tmp_path / "data/x" / name).symlink_to(to)
    found = [str(file.relative_to(tmp_path)) for file in files_below(tmp_path / "data")]
    assert found == ["data/x/list.csv", "data/x/out/list.csv"]
    monkeypatch.setattr(archives, "MOST_FILES", 1)
    with pytest.raises(StoreError, match="found more than 1 files below"):
        Found.below(tmp_path / "data")


def test_sentences_count_their_known_words(tmp_path):
    table = Sentences(str(sentences(tmp_path / "text.npz", ["dog", "cat"])))
    assert table.names == ["dog", "cat"] and (table.count, table.width) == (2, 768)
    assert table.read(1).shape == (2, 768) and table.tokens(1) == ["w0", "w1"]
    np.savez(tmp_path / "odd.npz", features=np.zeros((2, 3, 8)), names=["a", "b"], mask=np.ones((2, 4), bool))
    np.savez(tmp_path / "flat.npz", features=np.zeros((2, 8)), names=["a", "b"])
    np.savez(tmp_path / "nameless.npz", features=np.zeros((2, 3, 8)))
    for file, said in (("odd", "found mask"), ("flat", "need floating"), ("nameless", "need 'names'")):
        with pytest.raises(SourceError, match=f"{file}.npz: .*{said}"):
            Sentences(str(tmp_path / f"{file}.npz")).read(0)


def test_event_seconds_equal_the_authors():
    golden = reference("labels_avvp")
    classes = tuple(golden["categories"])
    for names, onsets, offsets, expected in zip(
        golden["events"], golden["onsets"], golden["offsets"], golden["labels"], strict=True
    ):
        events = Events(
            tuple(names.split(",")), tuple(map(int, onsets.split(","))), tuple(map(int, offsets.split(",")))
        )
        seconds = event_seconds(events, classes)
        np.testing.assert_array_equal(seconds, expected[:, :-1] > 0)
        np.testing.assert_array_equal(~seconds.any(-1), expected[:, -1] > 0)  # theirs have a background column


def test_joined_events_and_one_row_each_are_the_same(tmp_path):
    columns = ("filename", "event_labels", "onset", "offset")
    joined = listing(tmp_path / "a.csv", columns, [("x_0_10", "Dog,Cat,Dog", "0,1,4", "2,3,9")], "\t")
    apart = [("x_0_10", "Dog", 0, 2), ("x_0_10", "Cat", 1, 3), ("x_0_10", "Dog", 4, 9)]
    found = [avvp_events(file)[0] for file in (joined, listing(tmp_path / "b.csv", columns, apart, "\t"))]
    assert found[0] == found[1]
    held = event_seconds(found[0]["x_0_10"], ("Cat", "Dog"))
    assert held[:, 0].nonzero()[0].tolist() == [1, 2] and held[:, 1].nonzero()[0].tolist() == [0, 1, 4, 5, 6, 7, 8]
    for row in (("x", "Dog,Cat", "0", "2"), ("x", "Dog", "0.5", "2"), ("x", "Dog", "-1", "2"), ("x", "Dog", "", "")):
        with pytest.raises(SourceError, match=r"bad.csv.*line 2 \(x\)"):
            avvp_events(listing(tmp_path / "bad.csv", columns, [row], "\t"))


def test_the_real_lists(shared):
    data = shared / "data"
    clips = ave_annotations(data / "ave" / "Annotations.txt")
    assert len(clips) == 4143 and len({clip.category for clip in clips}) == 28
    rows = {split: order(data / "ave" / f"{split}_order.h5", len(clips)) for split in ("train", "val", "test")}
    assert [len(r) for r in rows.values()] == [3339, 402, 402]
    assert sorted(np.concatenate(list(rows.values()))) == list(range(4143))
    weak, remarks = avvp_events(data / "avvp" / "AVVP_train.csv")
    assert len(weak) == 10_000 and not remarks
    assert {name for events in weak.values() for name in events.names} == set(CLASSES)
    timed, remarks = avvp_events(data / "avvp" / "AVVP_eval_audio.csv")
    assert sum(len(e.names) for e in timed.values()) == 4131 and len(timed) == 1848
    assert remarks == ["AVVP_eval_audio.csv: 6 events end before they begin and count for no second"]
    heard = event_seconds(timed["KSRjje7GH44_60_70"], CLASSES)
    assert heard[:, CLASSES.index("Speech")].tolist() == [True] * 8 + [False] * 2
    assert heard[:, CLASSES.index("Blender")].tolist() == [False] * 8 + [True] * 2
    assert len(SHARED) == 12 and set(SHARED) <= set(CLASSES)
    assert {name for names in SHARED.values() for name in names} <= {clip.category for clip in clips}


def test_lists_that_do_not_fit_are_refused(tmp_path):
    file = tmp_path / "Annotations.txt"
    file.write_text("Dog&a&good&0&10\nDog&b&good&0\nDog&c&good&x&10\n")
    with pytest.raises(SourceError, match=r"line 2.*line 3"):
        ave_annotations(file)
    for values, said in (([0, 5], "rows 0 to 5, need 0 to 4"), ([1, 1], "1 rows more than once"), ([0.5], "numbers")):
        with pytest.raises(SourceError, match=said):
            order(hdf5(tmp_path / "order.h5", np.array(values), "order"), 5)
    with pytest.raises(SourceError, match="found columns name, need file_name, caption_1"):
        clotho_captions(listing(tmp_path / "c.csv", ["name"], [["x"]]))
    captions = listing(
        tmp_path / "d.csv", ["file_name", "caption_1", "caption_2"], [["a.b.wav", '"One, two"', "Three"]]
    )
    assert clotho_captions(captions) == [("a.b", "a.b#1", "One, two"), ("a.b", "a.b#2", "Three")]


HEADER, ROWS = (
    ["filename", "onset", "offset", "event_labels"],
    [["a_0_10", "0", "4", "Dog"], ["b_0_10", "2", "3", "Car"]],
)
NEED = {"a_0_10": Events(("Dog",), (0,), (4,)), "b_0_10": Events(("Car",), (2,), (3,))}


def dialect(tmp_path, separator="\t", encoding="utf-8", ending="\n", rows=ROWS):
    file = tmp_path / "list.csv"
    file.write_bytes((ending.join(separator.join(row) for row in [HEADER, *rows]) + ending).encode(encoding))
    return file


@pytest.mark.parametrize("separator", "\t,;")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin1"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_dialects_of_one_list_say_the_same(tmp_path, separator, encoding, ending):
    assert avvp_events(dialect(tmp_path, separator, encoding, ending))[0] == NEED


def test_whole_seconds_may_have_a_point_and_quotes_between_tabs_are_letters(tmp_path):
    rows = [["a_0_10", "0.0", "4.0", "Dog"], ["b_0_10", "2", "3.0", "Car"], ['"c_0_10', "1", "2", "Cat"]]
    found, _ = avvp_events(dialect(tmp_path, rows=rows))
    assert {name: found[name] for name in NEED} == NEED and found['"c_0_10'].names == ("Cat",)
    with pytest.raises(SourceError, match=r"whole seconds from 0.* 1 rows have not: line 2 \(a_0_10\)"):
        avvp_events(dialect(tmp_path, rows=[["a_0_10", "0.5", "4", "Dog"]]))


def test_rows_that_cannot_be_told_apart_are_refused_by_line(tmp_path):
    for rows, message in (
        ([["a_0_10", "0", "4"], *ROWS], r"need 4 fields in each row .* separated by commas .* 1 rows have not: line 2"),
        ([["a_0_10", "0,3", "4,5", "Dog,Cat"], *ROWS], "1 rows have not: line 2"),
        ([['"a_0_10', "0", "4", "Dog"], *ROWS], "is there a quote that is not closed"),
        ([['"a_0_10', "0", "4", "Dog"], ['b_0_10"', "2", "3", "Car"]], "1 rows have not: line 3"),
    ):
        with pytest.raises(SourceError, match=message):
            avvp_events(dialect(tmp_path, ",", rows=rows))
    with pytest.raises(SourceError, match="holds NUL"):
        avvp_events(dialect(tmp_path, encoding="utf-32-le"))


def test_lists_as_they_are_found(shared):
    folder = shared / "data" / "lists"
    sounds, _ = avvp_events(folder / "AVE_AVVP_eval_audio_checked.csv")  # commas where others have tabs
    assert len(sounds) > 100 and sounds["4YdbENYcIyE_23_33"] == Events(("Baby_cry_infant_cry",), (0,), (4,))
    both, _ = avvp_events(folder / "AVVP_multimodal_simplified.csv")
    assert both["-0A9sun15YA_110_120"].names[:3] == ("Car", "Speech", "Speech")


def test_captions_that_are_none_are_refused(tmp_path):
    file = tmp_path / "captions.json"
    odd = [("Infinity", '"a dog"'), ("1", "null"), ("1.5", '"a dog"'), ('"7"', '"a dog"'), ("1", r'"\ud800"')]
    for image, caption in odd:
        file.write_text(f'{{"annotations": [{{"image_id": {image}, "id": 1, "caption": {caption}}}]}}')
        with pytest.raises(SourceError, match="need COCO's captions"):
            coco_captions(file)


def test_what_is_no_regular_file_or_declares_too_much_is_not_read(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    for name in ("pipe.zip", "zero.npy"):
        refused(tmp_path / name, "is no regular file")
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as held, held.open("features.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (10**8, 1000, 1)}
        )
    with pytest.raises(SourceError, match="unpacks to 400000000000 bytes"):
        Sentences(str(tmp_path / "huge.npz")).count  # noqa: B018
    with h5py.File(tmp_path / "order.h5", "w") as held:
        held.create_dataset("order", shape=(5 * 10**8,), dtype="i8", chunks=(10**6,))
    with pytest.raises(SourceError, match="unpacks to too much"):
        order(tmp_path / "order.h5", 10)
