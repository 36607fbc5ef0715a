"""The shell door: `glia`."""

from __future__ import annotations

import importlib
import sys

import click

from glia.core.errors import GliaError

COMMANDS = {
    "serve": "serve:serve_command",
    "predict": "predict:predict_command",
    "evaluate": "predict:evaluate_command",
    "services": "models:services_command",
    "models": "models:models_command",
    "catalog": "models:catalog_command",
    "fetch": "models:fetch_command",
    "import": "importing:import_command",
    "tune": "tune:tune_command",
    "settings": "models:settings_command",
}
"""Command to the module of this package that it lies in, and its name there."""


class Commands(click.Group):
    """Loads the module of a command when it is asked for: a server has no use for what importers need (50 MB)."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Every command, in the order of a person's first day."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command, its module loaded."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="glia")
def cli() -> None:
    """Deep-learning microservices you own.

    \b
    glia serve                          every service, one HTTP API, one web page
    glia predict objects photo.jpg      ask a service from the shell
    glia fetch --service objects        get the best published network for a service
    glia import FILES --name N          take in somebody's network, in the file its authors saved
    """


def main() -> None:
    """Run the command line; an error of ours is one line on stderr, and status 1."""
    try:
        sys.exit(cli.main(prog_name="glia", standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except GliaError as error:
        click.echo(f"glia: {error.message}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        click.echo(
            f"glia: the system refuses{place}: {error.strerror or error}. Check GLIA_HOME and who may write.", err=True
        )
        sys.exit(1)
