import threading

import pytest

from srcid.files import whole_file


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with whole_file(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_writers_at_the_same_time_do_not_mix(tmp_path):
    path, texts = tmp_path / "scores.json", [letter * 100_000 for letter in "abcd"]

    def write(text):
        with whole_file(path) as draft, draft.open("w") as file:
            for place in range(0, len(text), 1000):
                file.write(text[place : place + 1000])

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts and list(tmp_path.iterdir()) == [path]
