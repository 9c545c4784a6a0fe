from pathlib import Path

import pytest

from walkforward_cluster import binaries, paths
from walkforward_cluster.errors import ClusterError


def test_two_clones_have_two_names_and_one_clone_keeps_its_own() -> None:
    one, other = paths.default_name(Path("/a/clone")), paths.default_name(Path("/b/clone"))
    assert one != other
    assert one == paths.default_name(Path("/a/clone"))
    assert len(one) <= 13  # with "-h" it is an interface's name


def test_a_key_follows_names_contents_modes_and_what_else_decides(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    before = paths.content_key([("a", file)], "flag")
    assert before == paths.content_key([("a", file)], "flag")
    assert before != paths.content_key([("b", file)], "flag")
    assert before != paths.content_key([("a", file)], "other")
    file.chmod(0o755)
    executable = paths.content_key([("a", file)], "flag")
    assert executable != before
    file.write_text("two")
    assert paths.content_key([("a", file)], "flag") != executable


def test_a_key_does_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    entries = [(name, tmp_path / name) for name in ("a", "b")]
    assert paths.content_key(entries) == paths.content_key(entries[::-1])


def test_a_tree_leaves_out_what_python_leaves_behind(tmp_path: Path) -> None:
    (tmp_path / "part" / "__pycache__").mkdir(parents=True)
    (tmp_path / "part" / "__pycache__" / "x.pyc").touch()
    (tmp_path / "part" / "x.py").touch()
    assert [name for name, _ in paths.tree(tmp_path, tmp_path / "part")] == ["part/x.py"]


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert paths.cache() == Path("/elsewhere/walkforward")


def test_an_unknown_tool_is_refused_without_building_anything() -> None:
    with pytest.raises(ClusterError, match="the module does not build it"):
        binaries.tool("minikube")
