"""Settings come from one file and the environment; a name nobody knows refuses to start and names the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard import settings as settings_of
from guard.dialects.relay_settings import RelaySettings
from guard.settings import ConfigurationError, Settings, load

README = Path(__file__).parents[2] / "README.md"


def written(folder: Path, text: str) -> Path:
    path = folder / "tayguard.toml"
    path.write_text(text, "utf-8")
    return path


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(environ={})
    assert (settings.bot.id, settings.server.host, settings.server.port) == ("tay", "127.0.0.1", 8000)
    assert (settings.learning.mode, settings.learning.cool_down_s, settings.learning.k_authors) == (
        "imitate",
        21_600,
        3,
    )
    assert settings.store.data_dir == tmp_path / "data"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAYGUARD_SERVER__PORT", "9001")
    settings = load(written(tmp_path, '[server]\nport = 9000\nhost = "::1"\n'))
    assert (settings.server.port, settings.server.host) == (9001, "::1")


def test_the_data_folder_variable_wins_over_everything(tmp_path: Path) -> None:
    path = written(tmp_path, '[store]\ndata_dir = "elsewhere"\n')
    assert load(path, {"TAYGUARD_DATA_DIR": str(tmp_path / "mine")}).store.data_dir == tmp_path / "mine"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[server]\nprot = 1\n", "server.port"),
        ("[sever]\nport = 1\n", "server"),
        ("[learning]\ncooldown_s = 1\n", "learning.cool_down_s"),
        ("port = 1\n", "did you mean"),
    ],
)
def test_an_unknown_setting_names_the_nearest(tmp_path: Path, text: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=nearest) as caught:
        load(written(tmp_path, text), {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["TAYGUARD_SERVER__PROT", "TAYGUARD_SERVER_PORT", "TAYGUARD_POTR", "TAYGUARD_DATADIR"])
def test_an_unknown_variable_names_the_nearest(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"{name}; did you mean TAYGUARD_"):
        load(environ={name: "1"})


@pytest.mark.parametrize(
    "text",
    ["[server]\nport = 70000\n", '[learning]\nmode = "always"\n', '[bot]\nid = "a b"\n', "[scoring]\nfilters = []\n"],
)
def test_a_value_out_of_range_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="setting ") as caught:
        load(written(tmp_path, text), {})
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        load(written(tmp_path, "port: 1"), {})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no settings file"):
        load(tmp_path / "other.toml", {})


def test_settings_do_not_change_after_loading(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ""), {})
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]


def test_children_get_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(written(tmp_path, "[server]\nworkers = 3\n"), {})
    monkeypatch.setenv("TAYGUARD_SERVER__WORKERS", "5")
    assert settings_of.from_json(settings.model_dump_json()) == settings


def test_every_setting_says_what_it_does() -> None:
    for section, field in Settings.model_fields.items():
        model = RelaySettings if section == "relay" else field.annotation
        assert model is not None
        for name, inner in model.model_fields.items():
            assert inner.description, f"{section}.{name} has no description"


def test_the_readme_has_the_table() -> None:
    text = README.read_text("utf-8")
    assert settings_of.markdown_table() in text, "run `make docs`"


def test_the_table_is_filled_between_its_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- settings:begin -->\nold\n<!-- settings:end -->\nafter\n", "utf-8")
    assert settings_of.write_into(readme, "settings", "new\n")
    assert readme.read_text("utf-8") == "before\n<!-- settings:begin -->\nnew\n<!-- settings:end -->\nafter\n"
    assert not settings_of.write_into(readme, "settings", "new\n")
