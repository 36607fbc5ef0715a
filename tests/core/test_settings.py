"""Settings: flag > environment > file > default; what cannot be used is said with its origin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glia.core.errors import SettingError
from glia.core.settings import TABLE, Settings


def write(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "settings.toml").write_text(text)


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    environ = {"GLIA_HOME": str(tmp_path)}
    steps = [(Settings({}, environ)["port"], Settings({}, environ).origin["port"])]
    write(tmp_path, "port = 1\n")
    steps.append((Settings({}, environ)["port"], Settings({}, environ).origin["port"]))
    environ["GLIA_PORT"] = "2"
    steps.append((Settings({}, environ)["port"], Settings({}, environ).origin["port"]))
    flagged = Settings({"port": 3, "host": None}, environ)
    steps.append((flagged["port"], flagged.origin["port"]))
    assert steps == [(8080, "default"), (1, "file"), (2, "GLIA_PORT"), (3, "flag")]
    assert flagged.origin["host"] == "default"  # None is a flag that was not given


def test_the_home_decides_where_the_file_is(tmp_path: Path) -> None:
    write(tmp_path / "a", "port = 1\n")
    write(tmp_path / "b", "port = 2\n")
    environ = {"GLIA_HOME": str(tmp_path / "a")}
    assert Settings({}, environ)["port"] == 1
    assert Settings({"home": str(tmp_path / "b")}, environ)["port"] == 2
    assert Settings({"home": str(tmp_path / "b")}, environ).file == tmp_path / "b" / "settings.toml"


def test_without_a_home_it_is_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    home = Settings({}, {}).home
    assert home.name == "glia"
    assert home.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1\n", "Unknown settings in .*settings.toml: prot. `glia settings` lists them all"),
        ("port = \n", "Expected TOML in .*settings.toml"),
        ('port = "many"\n', r"Setting port \(file\): expected a whole number from 0, received 'many'"),
        ("port = [1]\n", r"Setting port \(file\): expected a whole number from 0, received \[1\]"),
        ("port = -1\n", r"Setting port \(file\): expected a whole number from 0, received -1"),
        ('licences = "some"\n', r"Setting licences \(file\): expected all or permissive, received 'some'"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_words(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, text)
    with pytest.raises(SettingError, match=said):
        Settings({}, {"GLIA_HOME": str(tmp_path)})


def test_a_file_that_is_no_text_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="Expected TOML in"):
        Settings({}, {"GLIA_HOME": str(tmp_path)})


def test_the_environment_is_checked_like_the_file(tmp_path: Path) -> None:
    environ = {"GLIA_HOME": str(tmp_path), "GLIA_MEMORY": "1.5"}
    with pytest.raises(SettingError, match=r"Setting memory \(GLIA_MEMORY\): expected a whole number"):
        Settings({}, environ)


def test_every_setting_has_a_help_and_a_default_that_it_accepts(tmp_path: Path) -> None:
    settings = Settings({"home": str(tmp_path)}, {})
    assert list(settings) == [setting.name for setting in TABLE]
    assert len(settings) == len(TABLE)
    for setting in TABLE:
        assert setting.help.endswith(".")
        assert setting.variable == f"GLIA_{setting.name.upper()}"
        if setting.name != "home":
            assert settings[setting.name] == setting.default


def test_reading_settings_makes_nothing(tmp_path: Path) -> None:
    Settings({"home": str(tmp_path / "new")}, {})
    assert os.listdir(tmp_path) == []
