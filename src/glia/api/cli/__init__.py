"""The shell door: `glia`."""

from __future__ import annotations

import sys

import click

from glia.api.cli.models import catalog_command, fetch_command, models_command, services_command, settings_command
from glia.api.cli.predict import PredictGroup, evaluate_command
from glia.api.cli.serve import serve_command
from glia.api.cli.tune import tune_command
from glia.core.errors import GliaError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="glia")
def cli() -> None:
    """Deep-learning microservices you own.

    \b
    glia serve                          every service, one HTTP API, one web page
    glia predict objects photo.jpg      ask a service from the shell
    glia fetch --service objects        get the best published network for a service
    """


cli.add_command(serve_command)
cli.add_command(PredictGroup())
cli.add_command(evaluate_command)
cli.add_command(services_command)
cli.add_command(models_command)
cli.add_command(catalog_command)
cli.add_command(fetch_command)
cli.add_command(tune_command)
cli.add_command(settings_command)


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
