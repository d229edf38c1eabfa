"""`sidecar schema`: the policy format, for editors."""

from __future__ import annotations

import click


@click.command(short_help="Print the JSON Schema of the policy format.")
def schema() -> int:
    """Print the JSON Schema of a policy file.

    A file that begins with `# yaml-language-server: $schema=schema.json` is checked by it as it is typed.
    """
    from sidecar.policy.schema import schema_text

    click.echo(schema_text(), nl=False)
    return 0
