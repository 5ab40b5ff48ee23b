"""What cannot be kept is refused before anything starts."""

import pytest

from greenbench.campaign.bench import Asked, bench
from greenbench.errors import UserError


@pytest.fixture
def no_folder(tmp_path):
    """A place where not even root can make a folder."""
    file = tmp_path / "file"
    file.write_text("")
    return file / "inside"


def test_a_cache_that_cannot_be_written_is_one_sentence(no_folder, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(no_folder))
    with pytest.raises(UserError, match=r"^The cache directory cannot .* GREENBENCH_CACHE\.$"):
        bench(Asked([]))


def test_a_user_without_a_home_is_told_where_to_have_a_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GREENBENCH_CACHE")
    monkeypatch.setattr("greenbench.paths.Path.home", homeless)
    with pytest.raises(UserError, match=r"\(Could not determine home directory\): say where"):
        bench(Asked([]))


def test_each_swept_results_directory_must_take_records(no_folder, tmp_path, smollm2):
    with pytest.raises(UserError, match=r"results directory .*inside cannot take .* results=DIR"):
        bench(Asked([f"results={tmp_path}/fine,{no_folder}", "task=smoke"], multirun=True))
    assert not list((tmp_path / "fine").glob("records/*"))
