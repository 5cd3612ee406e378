"""Whole files or none: what is written is there complete, or the old content is; only regular files are read."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from swinv2_dense import files
from swinv2_dense.errors import UserError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def in_subprocess(code, **options):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, **options)


class TestWriting:
    def test_content_replaces_what_was_there(self, tmp_path):
        path = tmp_path / "sub" / "a.txt"
        files.write_text(path, "old")
        files.write_text(path, "new ü")
        assert path.read_text(encoding="utf-8") == "new ü"
        assert names(path.parent) == ["a.txt"]
        assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def test_failing_block_leaves_the_old_content_alone(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("old")

        def interrupted():
            with files.writing(path) as place:
                place.write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert path.read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    def test_file_too_large_for_the_disk_leaves_nothing_and_names_the_file(self, tmp_path):
        done = in_subprocess(f"""
            import resource, pathlib
            from swinv2_dense import files
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            path = pathlib.Path({str(tmp_path / "a.bin")!r})
            files.write_bytes(path, b"old")
            try:
                files.write_bytes(path, bytes(5000))
            except files.CannotWriteError as error:
                print(error, error.errno, isinstance(error, OSError))
            print(path.read_bytes(), sorted(p.name for p in path.parent.iterdir()))
        """)
        assert done.stdout.splitlines() == [
            f"{tmp_path}/a.bin cannot be written (File too large): name another place 27 True",
            "b'old' ['a.bin']",
        ]

    @pytest.mark.parametrize("name", ["x" * 5000, "x" * 250 + "\udcff" * 10])
    def test_name_too_long_for_the_system_is_one_line(self, tmp_path, name):
        with pytest.raises(files.CannotWriteError, match="too long") as error:
            files.write_text(tmp_path / name, "")
        assert len(str(error.value)) < 500
        assert names(tmp_path) == []

    @pytest.mark.parametrize("length", [119, 121, 250, 255])
    def test_long_names_work(self, tmp_path, length):
        files.write_text(tmp_path / ("x" * length), "whole")
        assert (tmp_path / ("x" * length)).read_text() == "whole"

    def test_devices_and_folders_are_not_replaced(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for path, kind in ((tmp_path, "a folder"), ("/dev/null", "a device"), (tmp_path / "pipe", "a named pipe")):
            with pytest.raises(files.CannotWriteError, match=f"is {kind}"):
                files.write_text(path, "x")

    def test_parent_that_is_a_file_is_named(self, tmp_path):
        (tmp_path / "a").write_text("")
        with pytest.raises(files.CannotWriteError, match=r"a/b cannot be written"):
            files.write_text(tmp_path / "a" / "b", "x")

    def test_error_of_another_file_in_the_block_stays_itself(self, tmp_path):
        with pytest.raises(FileNotFoundError), files.writing(tmp_path / "a"):
            os.stat("/no/such/input")
        assert names(tmp_path) == []

    def test_error_survives_being_pickled(self):
        error = files.CannotWriteError("a cannot be written", 28, "No space left on device")
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.errno, copy.strerror) == (str(error), 28, "No space left on device")


class TestKilledWriter:
    @pytest.fixture
    def killed(self, tmp_path):
        writer = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys, time; from swinv2_dense import files\n"
                "with files.writing(sys.argv[1] + '/a.txt') as a, files.writing_folder(sys.argv[1] + '/b') as b:\n"
                "    a.write_text('half'); (b / 'c').write_text('half'); print('ready', flush=True); time.sleep(60)",
                str(tmp_path),
            ],
            stdout=subprocess.PIPE,
        )
        assert writer.stdout.readline() == b"ready\n"
        yield writer
        writer.kill()
        writer.wait()
        writer.stdout.close()

    def test_what_it_left_goes_at_the_next_writing_but_not_while_it_lives(self, tmp_path, killed):
        left = names(tmp_path)
        assert len(left) == 2 and all(".unfinished" in name for name in left)
        _age(tmp_path)
        files._swept.clear()
        files.write_text(tmp_path / "other.txt", "x")
        assert names(tmp_path) == [*left, "other.txt"]
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        files._swept.clear()
        files.write_text(tmp_path / "other.txt", "x")
        assert names(tmp_path) == ["other.txt"]

    def test_files_of_others_are_left(self, tmp_path):
        for name in (".a.unfinished", "a.0123456789ab.unfinished", ".a.0123456789ab.unfinished.a.txt"):
            (tmp_path / name).write_text("")
        before = names(tmp_path)
        _age(tmp_path)
        files.write_text(tmp_path / "zzz", "x")
        assert names(tmp_path) == [*before, "zzz"]


class TestWritingFolder:
    def test_appears_whole(self, tmp_path):
        with files.writing_folder(tmp_path / "a" / "b") as place:
            (place / "c").mkdir()
            (place / "c" / "d").write_text("x")
            assert not (tmp_path / "a" / "b").exists()
        assert (tmp_path / "a" / "b" / "c" / "d").read_text() == "x"
        assert names(tmp_path / "a") == ["b"]

    def test_full_folder_is_kept_unless_it_may_be_replaced(self, tmp_path):
        folder = tmp_path / "a"
        folder.mkdir()
        (folder / "old").write_text("")
        with pytest.raises(files.CannotWriteError, match="not empty"), files.writing_folder(folder):
            pass

        def failing():
            with files.writing_folder(folder, replace=True) as place:
                (place / "new").write_text("")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            failing()
        assert names(folder) == ["old"]
        with files.writing_folder(folder, replace=True) as place:
            (place / "new").write_text("")
        assert names(folder) == ["new"]
        assert names(tmp_path) == ["a"]

    def test_file_of_that_name_is_kept(self, tmp_path):
        (tmp_path / "a").write_text("x")
        with pytest.raises(files.CannotWriteError, match="is a file"), files.writing_folder(tmp_path / "a"):
            pass
        assert (tmp_path / "a").read_text() == "x"

    def test_disk_full_in_the_middle_leaves_no_folder(self, tmp_path):
        done = in_subprocess(f"""
            import resource, pathlib
            import numpy as np
            from swinv2_dense import files
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            path = pathlib.Path({str(tmp_path / "maps")!r})
            noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
            try:
                with files.writing_folder(path) as folder:
                    for name in ("a.png", "b.png"):
                        (folder / name).write_bytes(files.encode_image(name, noise))
            except files.CannotWriteError as error:
                print(error)
            print(sorted(p.name for p in path.parent.iterdir()))
        """)
        assert done.stdout.splitlines() == [
            f"{tmp_path}/maps cannot be written (File too large): name another place",
            "[]",
        ]

    def test_many_files_are_synced(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "_SYNCED_ONE_BY_ONE", 3)
        with files.writing_folder(tmp_path / "a") as place:
            for number in range(5):
                (place / str(number)).write_text("x")
        assert len(names(tmp_path / "a")) == 5


class TestImages:
    def test_image_is_written_in_the_format_of_its_name(self, tmp_path):
        cv2 = pytest.importorskip("cv2")
        image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        files.write_image(tmp_path / "a.png", image)
        assert (cv2.imread(str(tmp_path / "a.png")) == image).all()

    @pytest.mark.parametrize(
        ("name", "image", "said"),
        [
            ("a.png", np.zeros((0, 4), np.uint8), "cannot be encoded"),
            (
                "a.xyz",
                np.zeros((4, 4), np.uint8),
                "a.xyz ends like no image that can be written: end its name with .png",
            ),
            ("a", np.zeros((4, 4), np.uint8), "a ends like no image"),
        ],
    )
    def test_what_opencv_cannot_encode_is_an_error(self, tmp_path, name, image, said):
        pytest.importorskip("cv2")
        with pytest.raises(files.CannotWriteError, match=said):
            files.write_image(tmp_path / name, image)
        assert names(tmp_path) == []

    def test_figure(self, tmp_path):
        figure = pytest.importorskip("matplotlib.figure").Figure()
        figure.subplots().plot([1, 2])
        files.write_figure(tmp_path / "a.png", figure, dpi=50)
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_several_processes_may_write_one_folder_together(tmp_path):
    path = tmp_path / "a"
    files.unfinished(path).mkdir()
    (files.unfinished(path) / "part").write_text("x")
    files.publish(path)
    files.unfinished(path).mkdir()
    files.publish(path)
    assert names(tmp_path) == ["a"] and names(path) == []


def test_remove_takes_a_link_and_leaves_its_target(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "not there")
    assert names(tmp_path) == ["target"]


class TestReading:
    def test_only_regular_files_are_opened(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        (tmp_path / "file").write_text("x")
        assert files.read_bytes(tmp_path / "link") == b"x"
        for path, problem in (
            (tmp_path / "pipe", "is a named pipe, not a regular file"),
            ("/dev/zero", "is a device, not a regular file"),
            (tmp_path, "is a folder, not a"),
            (tmp_path / "none", "does not exist"),
            (tmp_path / "loop", "cannot be read"),
            (tmp_path / ("x" * 5000), "cannot be read"),
            (f"{tmp_path}/a\0b", "cannot be read"),
        ):
            with pytest.raises(UserError, match=f"clip list .*{problem}") as error:
                files.read_bytes(path, "clip list")
            assert len(str(error.value)) < 500 and "\0" not in str(error.value)

    def test_text_is_utf8_with_any_line_ends(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_bytes("\ufeffü\r\nb\rc\n".encode())
        assert files.read_text(path) == "ü\nb\nc\n"

    @pytest.mark.parametrize(
        ("content", "problem"),
        [("ü".encode("utf-16"), "is UTF-16"), ("a\n中".encode("gbk"), r"is not UTF-8 \(line 2\)")],
    )
    def test_other_encodings_are_named(self, tmp_path, content, problem):
        (tmp_path / "a.txt").write_bytes(content)
        with pytest.raises(UserError, match=problem):
            files.read_text(tmp_path / "a.txt")

    def test_limit(self, tmp_path):
        (tmp_path / "a").write_bytes(bytes(11))
        assert files.read_bytes(tmp_path / "a", at_most=11) == bytes(11)
        with pytest.raises(UserError, match="larger than 10 bytes"):
            files.read_bytes(tmp_path / "a", at_most=10)


class TestWalk:
    def test_links_are_followed_once_and_dot_folders_left_out(self, tmp_path):
        for name in ("in/b", "in/a", "in/sub/c", "in/.trash/d", "beside/e"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "in" / "link").symlink_to(tmp_path / "beside")
        (tmp_path / "in" / "sub" / "loop").symlink_to(tmp_path / "in")
        (tmp_path / "beside" / "back").symlink_to(tmp_path / "in")
        (tmp_path / "in" / "gone").symlink_to(tmp_path / "nothing")
        top, sub, link, trash = (str(tmp_path / "in" / name) for name in ("", "sub", "link", ".trash"))
        expected = [(top, ["a", "b", "gone"]), (link, ["e"]), (sub, ["c"])]
        assert list(files.walk(tmp_path / "in")) == expected
        assert list(files.walk(top, dotted=True)) == [expected[0], (trash, ["d"]), *expected[1:]]

    def test_a_folder_that_cannot_be_read_is_named(self, tmp_path, monkeypatch):
        def refuse(path):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(files.os, "scandir", refuse)
        with pytest.raises(UserError, match=r"in cannot be read \(Permission denied\): make it readable"):
            list(files.walk(tmp_path / "in"))


class TestWithin:
    @pytest.mark.parametrize("name", ["a.jpg", "a/b.jpg", "./a", "a/../b", "..a", "a b/c..jpg", "3:45.jpg"])
    def test_names_inside(self, tmp_path, name):
        assert files.within(tmp_path, name) == tmp_path / name

    @pytest.mark.parametrize(
        "name",
        ["../a", "/etc/x", "a/../../b", "..", "", ".", "a/..", "C:\\a", "C:/a", "..\\a", "\\\\host\\a", "a\0b"],
    )
    def test_names_that_leave_are_refused(self, tmp_path, name):
        with pytest.raises(UserError, match=r"file_name .* leads out of the folder"):
            files.within(tmp_path, name, "file_name")


def test_long_and_odd_texts_are_shown_short_and_printable():
    assert files.shown("a/b ü") == "a/b ü"
    assert files.shown("a\n\x1b[31m\udcff") == "a\\n\\x1b[31m\\udcff"
    assert len(files.shown("x" * 5000)) < 230


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _age(folder):
    long_ago = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
